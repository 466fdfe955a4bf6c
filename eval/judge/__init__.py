"""LLM judging: rubrics, question plan, runner, reply cache, cost budget."""

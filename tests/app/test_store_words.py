"""Every text that a course store shows: none says shopper, bought, buy or item; the texts of a shop are unchanged."""

from __future__ import annotations

import ast
import itertools
import json
import re
from pathlib import Path

import pytest

import crossaisle
from crossaisle.app.console.pages.why_dialog import CHANNEL_LABELS, channel_label
from crossaisle.app.plots.category_pairs import axis_phrases
from crossaisle.app.reports.evaluation_page import page as evaluation_page
from crossaisle.app.terminal.training_summary import training_summary
from crossaisle.data.settings import Settings
from crossaisle.data.store_words import DEFAULT_WORDS
from crossaisle.data.workspace import Workspace
from crossaisle.llm.explain.vocabulary import suits_store
from crossaisle.recommend.category_map.matrix import build_category_map
from crossaisle.recommend.recommender import Recommender

from ..command_line import run
from ..course_store import build_store

ROOT = Path(crossaisle.__file__).parent
FOREIGN = re.compile(r"\b(?:shoppers?(?:'s)?|bought|buys?|buying|buyers?|items?|users?|took from|take from)\b", re.IGNORECASE)
"""Words of a shop, the technical word that its own noun replaces, and broken grammar."""
COURSES = DEFAULT_WORDS.updated("course", "learner", "take")


def foreign_words(text: str) -> list[str]:
    """The lines of a text that sound like a shop's. Options and file names are not words."""
    text = re.sub(r"--?[a-z-]+|\S+\.(?:jsonl|json|html)|\[[a-z_]+\]", " ", text)
    return [line for line in text.splitlines() if FOREIGN.search(line)]


@pytest.fixture(scope="module")
def course_store(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Workspace:
    return build_store(tmp_path_factory.mktemp("courses"), settings, item_noun="course", user_noun="learner", verb="take")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Workspace:
    return build_store(tmp_path_factory.mktemp("shop"), settings)


COMMANDS = {
    "recommend a user": ("recommend", "--user", "l002", "-k", "4"),
    "recommend too much": ("recommend", "--user", "l002", "-k", "40", "--new-items", "3", "--no-explain"),
    "recommend a text": ("recommend", "--text", "I want to understand data", "-k", "3"),
    "why": ("why", "--user", "l002", "--item", "PR-1"),
    "why not": ("why", "--user", "l002", "--item", "ST-2"),
    "profile": ("profile", "--user", "l002"),
    "probe": ("probe", "statistics", "--level", "1"),
    "probe reverse": ("probe", "who would need databases?"),
    "probe of one course": ("probe", "Probability Basics"),
    "compare": ("probe", "statistics", "--against", "programming"),
    "noisy": ("probe", "statistics", "--epsilon", "1"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_terminal(course_store: Workspace, command: str) -> None:
    name, *options = COMMANDS[command]
    process = (
        run(name, "-w", course_store.path, *options, "--llm", "none") if name != "profile" else run(name, "-w", course_store.path, *options)
    )
    assert process.returncode == 0, process.stderr
    assert foreign_words(process.stdout) == []
    if command != "recommend a text":  # its reasons are descriptions alone
        assert re.search(r"\b(?:courses?|learners?|took)\b", process.stdout)


def test_explanations_in_every_tone_and_length(course_store: Workspace, settings: Settings) -> None:
    """The embedded model's stored wordings, with evidence and claims; a course is taken and not owned."""
    recommender = Recommender.open(course_store, llm="smollm2", settings=settings)
    texts = []
    for tone, length in itertools.product(("plain", "warm", "expert"), ("line", "paragraph", "bullets")):
        for query in ({"user_id": "l002"}, {"items": ["PR-0"]}, {"text": "a poster for the village party"}):
            result = recommender.recommend(**query, k=3, tone=tone, length=length)  # type: ignore[arg-type]
            explanations = [item.explanation for item in result if item.explanation]
            assert all(explanation.verified or not explanation.text for explanation in explanations)
            texts += [explanation.text for explanation in explanations]
            texts += [fact.text for explanation in explanations for fact in explanation.evidence]
    shown = "\n".join(texts)
    assert foreign_words(shown) == []
    assert "learners who took" in shown
    assert not re.search(r"\bowners?\b|you have the\b", shown)


def test_segment_sentences_of_the_model(course_store: Workspace) -> None:
    process = run("probe", "-w", course_store.path, "statistics", "--llm", "smollm2")
    assert process.returncode == 0, process.stderr
    assert foreign_words(process.stdout) == []
    assert re.search(r"took courses from Statistics|taken courses from Statistics", process.stdout)


def test_messages_of_ingest(course_store: Workspace, tmp_path: Path) -> None:
    files = sorted(course_store.path.parent.glob("*.jsonl"))
    process = run(
        "ingest", "-w", tmp_path / "w", "--format", "files", *files, "--item-noun", "course", "--user-noun", "learner", "--verb", "take"
    )
    assert process.returncode == 0, process.stderr
    assert "courses: 20" in process.stdout
    assert "learners: 240" in process.stdout
    assert foreign_words(process.stdout) == []


@pytest.mark.parametrize("option", [("--item-noun", ""), ("--user-noun", "<b>x</b>"), ("--verb", "a" * 40), ("--verb", "take,took")])
def test_unusable_words_are_rejected(course_store: Workspace, tmp_path: Path, option: tuple[str, str]) -> None:
    process = run("ingest", "-w", tmp_path / "w", "--format", "files", course_store.path.parent, *option)
    assert process.returncode == 2
    assert len(process.stderr.strip().splitlines()) == 1


def test_category_map_pictures(course_store: Workspace, settings: Settings, tmp_path: Path) -> None:
    assert axis_phrases(build_category_map(course_store, settings)) == ("has taken courses from", "goes on to take courses from")
    process = run("probe", "-w", course_store.path, "--plot", tmp_path / "map.html")
    assert process.returncode == 0, process.stderr
    assert foreign_words(visible_text((tmp_path / "map.html").read_text())) == []


@pytest.mark.slow
def test_training_and_evaluation(course_store: Workspace, tmp_path: Path) -> None:
    training = run("train", "-w", course_store.path, "blend", "--llm", "none")
    assert training.returncode == 0, training.stderr
    evaluation = run("evaluate", "-w", course_store.path, "--out", tmp_path, "--llm", "none", "--budget", "1")
    assert evaluation.returncode == 0, evaluation.stderr
    assert foreign_words(training.stdout + evaluation.stdout) == []
    assert foreign_words(visible_text((tmp_path / "report.html").read_text())) == []
    evaluation_page(json.loads((tmp_path / "report.json").read_text()), tmp_path / "again.html")


def test_summary_of_a_measured_weight() -> None:
    gain = {"value": 0.1, "low": 0.05, "high": 0.15}
    weight = {
        "gain": gain, "ndcg@10": {"blend": 0.1}, "weight": {"weight": 1.0, "by_feature": {"rarely bought item": 0.5}}, "questions": 9,
        "informative": 8, "smallest_detectable_gain": 0.01, "ms_per_question": 1, "tokens_per_question": 10,
    }  # fmt: skip
    texts = {"gain": gain, "auc": {"popularity": 0, "cosine": 0, "without LLM": 0, "LLM": 0, "with LLM": 0}, "pairs": 5,
             "weight": 1.0, "cosine_weight": 1.0, "smallest_detectable_gain": 0.01}  # fmt: skip
    cards = {"llm_weight": weight, "text_weight": texts, "left_out": {}, "seconds": 1}
    assert foreign_words("\n".join(f"{name}: {value}" for name, value in training_summary(cards, COURSES).items())) == []
    assert any("a purchase in reach" in name for name in training_summary(cards))


def test_wordings_that_do_not_suit_a_store() -> None:
    for wording in ("{item} for shoppers", "The item is {item}", "One owner said {quote}", "You have {own}", "worth having"):
        assert not suits_store(wording, COURSES)
        assert suits_store(wording, DEFAULT_WORDS)
    assert suits_store("The {item} goes with the {own}", COURSES)


def test_labels_of_channels() -> None:
    assert foreign_words("\n".join(channel_label(name, COURSES) for name in CHANNEL_LABELS)) == []
    assert channel_label("random_walk", DEFAULT_WORDS) == "found along other shoppers' purchases"
    assert channel_label("co_occurrence", DEFAULT_WORDS) == "bought by the same shoppers"


FIXED_TEXTS = {
    "targets that are near-duplicates of a history item",
    "targets that are near-duplicates of a history item (kept)",
    "items of the file that are unknown",
    "rarely bought item",
    "level of rarely bought items",
    "bought from",
    "buy from",
    "dismissed by the shopper",
    "of a category that the shopper knows",
    "there is nothing to go by: give a user or items",
}
"""Texts of the code with a shop's words: those of a shop itself, keys, and names of options."""


@pytest.mark.parametrize(
    "folder", ["app/console", "app/terminal", "app/plots", "app/reports", "recommend/attribution", "recommend/constraints"]
)
def test_no_shown_text_has_fixed_words_of_a_shop(folder: str) -> None:
    """Reads the code, for texts that only appear in rare states of a page."""
    shop_words = re.compile(r"\b(?:shoppers?|bought|buys?|buying|items?)\b(?! *=)", re.IGNORECASE)
    fixed = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings and " " in node.value:
                text = re.sub(r"\{\w+\}|\w*\[.*\]|--[\w-]+", "", node.value)  # placeholders, types and options
                if shop_words.search(text) and node.value.strip() not in FIXED_TEXTS and file.name != "styles.py":
                    fixed.append(f"{file.name}:{node.lineno}: {node.value}")
    assert fixed == []


def visible_text(html: str) -> str:
    """The text of a page and its tooltips, without scripts and styles."""
    html = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    attributes = re.findall(r"(?:aria-label|title|alt)=\"([^\"]*)\"", html)
    return "\n".join([*re.sub(r"<[^>]+>", "\n", html).splitlines(), *attributes])

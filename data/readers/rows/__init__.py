"""Raw rows from csv, jsonl and parquet files, with line numbers, and the parsing of values."""

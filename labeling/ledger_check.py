"""Does the ledger hold together: is the file sound, and is every text there that a prompt is made of? It only reads."""

from __future__ import annotations

import sqlite3

MISSING_TEXTS = """
SELECT count(DISTINCT request_key) FROM (
    SELECT request_key, system AS text_id FROM requests UNION ALL
    SELECT request_key, schema FROM requests UNION ALL
    SELECT request_key, template FROM requests UNION ALL
    SELECT request_key, CASE type WHEN 'array' THEN value ->> 0 ELSE value END FROM requests, json_each(excerpts)
) WHERE text_id NOT IN (SELECT text_id FROM texts)
"""


def problems(connection: sqlite3.Connection) -> list[str]:
    """What is wrong, a sentence each; nothing when the ledger is sound."""
    found = [f"The file is damaged: {said}." for (said,) in connection.execute("PRAGMA quick_check(5)") if said != "ok"]
    if found:
        return found
    ((missing,),) = connection.execute(MISSING_TEXTS)
    return [f"{missing} requests have prompts of which a text is missing."] if missing else []

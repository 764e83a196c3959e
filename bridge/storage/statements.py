"""The statements of `sql/queries.sql` by their names."""

import re
from pathlib import Path

_TEXT = (Path(__file__).parent / "sql" / "queries.sql").read_text(encoding="utf-8")
_STATEMENT = re.compile(r"^-- name: (\w+)\n(?:-- .*\n)+([^;]+);", re.MULTILINE)

SQL: dict[str, str] = dict(_STATEMENT.findall(_TEXT))

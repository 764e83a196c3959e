"""WeCom's message types, a row each (document 91770): a new one is a row here.

A JSON one also needs its rules in `messages/cards.py`, a new dialect in `messages/markdown.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Msgtype:
    """What the bridge knows of a msgtype; `dialect` is how its templates are written.

    It is `json`, one of those in `messages/markdown.py`, or '' where no template can make it.
    """

    dialect: str
    limit: int | None = None  # bytes: of the content as UTF-8, of an image or a file as it is
    inline_mentions: bool = False  # `<@userid>` in the content
    mention_lists: bool = False  # `mentioned_list` and `mentioned_mobile_list`
    shows_pictures: bool = False  # by their addresses


# In this order: where one name has files of several msgtypes, the last of them is used, because a
# file that a team adds beside the markdown one that came with the bridge is the one they want.
MSGTYPES: Mapping[str, Msgtype] = {
    "markdown": Msgtype("markdown", 4096, inline_mentions=True),
    "markdown_v2": Msgtype("markdown_v2", 4096, shows_pictures=True),
    "text": Msgtype("text", 2048, inline_mentions=True, mention_lists=True),
    "news": Msgtype("json", shows_pictures=True),
    "template_card": Msgtype("json", shows_pictures=True),
    "image": Msgtype("", 2 << 20),
    "file": Msgtype("", 20 << 20),
}
TEMPLATE_MSGTYPES = [name for name, row in MSGTYPES.items() if row.dialect]
TEXT_LIMITS: Mapping[str, int] = {  # of the msgtypes whose content is a text
    name: row.limit for name, row in MSGTYPES.items() if row.limit and row.dialect
}

"""Whom a message mentions, and how each msgtype can (document 91770); pure.

A userid can be mentioned by `<@userid>` in the content. `@all` and mobile numbers need lists that
only a text message has. For whom the main message cannot mention, a text message follows.
"""

import re
import unicodedata
from collections.abc import Sequence

from bridge.errors import WrongValueError
from bridge.messages.markdown import defuse, shorten, size
from bridge.model import Message
from bridge.msgtypes import MSGTYPES

_MAX_INLINE = 1000  # bytes; some 40 people
_MAX_TITLE = 200  # bytes of it in the message that follows
_MOBILE = "1[3-9][0-9]{9}"
_EVERYBODY = ("all", "everyone", "everybody", "所有人", "全体", "全体成员", "全员", "大家")


def read_mentions(text: str) -> list[str]:
    """Return whom a `mention` of a routes file names: userids, mobile numbers of 11 digits, `@all`.

    Other spellings are put right: `@li`, `<@li>`, `@所有人`, `li,wang`, `+86 138-0013-8000`. Raises
    WrongValueError where WeCom would call nobody; the form of a userid is that of document 90195.
    """
    found = []
    for part in re.split(r"<@?|[>,;|、\r\n]", unicodedata.normalize("NFKC", text)):
        words = [part] if _mobile(part) else part.split()
        # `Wang Qing` may be one name or two userids; `@wang @qing` can only be two.
        if len(words) > 1 and not all(_mobile(word) or word.startswith("@") for word in words):
            raise WrongValueError("has a blank in it: write each userid in quotes of its own")
        found += [_read_mention(word) for word in words]
    if not found:
        raise WrongValueError("names nobody")
    return found


def _read_mention(word: str) -> str:
    name = word.removeprefix("@")
    if name.lower() in _EVERYBODY:
        return "@all"
    if mobile := _mobile(name):
        return mobile
    is_userid = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", name)
    if not is_userid or ("@" in name and name != word):
        raise WrongValueError(
            "calls nobody: write a userid (帐号 in WeCom's contacts: letters, digits and _ - . @), "
            "a mobile number of 11 digits, or @all"
        )
    return name


def _mobile(text: str) -> str:
    """Return the 11 digits of a mobile number however it is written, '' where it is none."""
    found = re.fullmatch(rf"(?:\+?86|0086)?({_MOBILE})", re.sub(r"[\s().-]", "", text))
    return found[1] if found else ""


def inline_mentions(msgtype: str, names: Sequence[str]) -> str:
    """Return the mentions for the content itself, as many as leave it room."""
    users = dict.fromkeys(name for name in names if not needs_list(name))
    mentions = [f"<@{user}>" for user in users] if MSGTYPES[msgtype].inline_mentions else []
    while size(" ".join(mentions)) > _MAX_INLINE:
        mentions.pop()
    return " ".join(mentions)


def follow_up(msgtype: str, names: Sequence[str], title: str) -> list[Message]:
    """Return the text message that mentions whom the main message cannot, if there is anyone."""
    kind = MSGTYPES[msgtype]
    missing = [name for name in names if needs_list(name) or not kind.inline_mentions]
    if kind.mention_lists or not missing:
        return []
    content = defuse(shorten(title, _MAX_TITLE), "text")
    return [Message("text", {"content": content, **mention_lists(missing, users=True)})]


def mention_lists(names: Sequence[str], users: bool = False) -> dict[str, list[str]]:
    """Return a text message's lists: `@all` and mobiles, and with `users` the userids too."""
    mobiles = [name for name in names if name != "@all" and needs_list(name)]
    others = [name for name in names if name == "@all" or (users and not needs_list(name))]
    lists = {"mentioned_list": others, "mentioned_mobile_list": mobiles}
    return {key: list(dict.fromkeys(found)) for key, found in lists.items() if found}


def needs_list(name: str) -> bool:
    """Return whether a mention is `@all` or a mobile number, which cannot be mentioned inline."""
    return name == "@all" or re.fullmatch(_MOBILE, name) is not None

#!/usr/bin/env python3
"""Makes links.json: signed links with their expected outcome, for any implementation to check.

A second implementation of docs/signed-link.md that shares no code with the first. It needs the
standard library alone.

    make_links.py            write links.json
    make_links.py --check    fail unless links.json is what would be written
"""

import base64
import hashlib
import hmac
import json
import pathlib
import re
import sys
import uuid
from urllib.parse import quote

NOW = 1769853600
TTL_MAX = 3600
KEYS = {
    "2026b": b"0123456789abcdef0123456789abcdef",
    "2026a": b"fedcba9876543210fedcba9876543210-and-longer-than-the-block-of-64-bytes!",
}
PATH = "/v1/exports/orders.csv"
LINK_ID = "0198c2f4-6f3a-7cc1-9b2e-0242ac120002"


# --- the specification, read a second time -------------------------------------------------------


class Malformed(Exception):
    pass


def decode(text):
    out = bytearray()
    raw = text.encode("utf-8", "surrogatepass")
    i = 0
    while i < len(raw):
        byte = raw[i]
        if byte == 0x2B:
            out.append(0x20)
        elif byte == 0x25:
            if not re.fullmatch(rb"[0-9A-Fa-f]{2}", raw[i + 1 : i + 3]):
                raise Malformed("escape")
            out.append(int(raw[i + 1 : i + 3], 16))
            i += 2
        else:
            out.append(byte)
        i += 1
    try:
        decoded = out.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("UTF-8") from error
    if "\0" in decoded:
        raise Malformed("NUL")
    return decoded


def parse(query):
    pairs = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if not name:
            raise Malformed("name")
        pairs.append((decode(name), decode(value)))
    return pairs


def canonical(pairs):
    kept = [(quote(n, safe=""), quote(v, safe="")) for n, v in pairs if n != "rl_signature"]
    return "&".join(f"{n}={v}" for n, v in sorted(kept, key=lambda it: (it[0].encode(), it[1].encode())))


def string_to_sign(path, pairs):
    return f"ROWLINK1-HMAC-SHA256\n{path}\n{canonical(pairs)}"


def signature(key, path, pairs):
    return hmac.new(key, string_to_sign(path, pairs).encode(), hashlib.sha256).hexdigest()


def is_text(value):
    controls = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value)
    return 1 <= len(value.encode()) <= 256 and not controls


def is_file_name(name):
    bidi = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    stem = name.split(".")[0].rstrip().upper()
    return (
        1 <= len(name) <= 150
        and not any(c in "/\\" or c in bidi or ord(c) < 32 or 127 <= ord(c) < 160 for c in name)
        and name.strip() == name
        and not name.endswith(".")
        and not re.fullmatch(r"CON|PRN|AUX|NUL|(COM|LPT)[0-9]", stem)
    )


def verify(path, query, now):
    """The outcome, in the order syntax, key id, MAC, times."""
    try:
        pairs = parse(query)
        reserved = [n for n, _ in pairs if n.startswith("rl_")]
        if len(set(reserved)) != len(reserved):
            raise Malformed("twice")
        values = {n: v for n, v in pairs if n.startswith("rl_")}
        seconds = r"0|[1-9][0-9]{0,9}"
        grammar = {
            "rl_signature": lambda v: re.fullmatch("[0-9a-f]{64}", v),
            "rl_key": lambda v: re.fullmatch("[A-Za-z0-9_-]{1,16}", v),
            "rl_issued": lambda v: re.fullmatch(seconds, v),
            "rl_expires": lambda v: re.fullmatch(seconds, v),
            "rl_user": is_text,
            "rl_link": lambda v: re.fullmatch("[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", v),
        }
        for name, fits in grammar.items():
            if name not in values or not fits(values[name]):
                raise Malformed(name)
        if "rl_not_before" in values and not re.fullmatch(seconds, values["rl_not_before"]):
            raise Malformed("rl_not_before")
        if "rl_filename" in values and not is_file_name(values["rl_filename"]):
            raise Malformed("rl_filename")
        for name, value in values.items():
            if name.startswith("rl_claim."):
                if not re.fullmatch(r"rl_claim\.[A-Za-z0-9_]{1,64}", name) or not is_text(value):
                    raise Malformed(name)
            elif name not in (*grammar, "rl_not_before", "rl_filename", "rl_columns", "rl_timezone", "rl_end_line",
                              "rl_length"):
                if not name.startswith("rl_csv."):
                    raise Malformed(name)
        issued, expires = int(values["rl_issued"]), int(values["rl_expires"])
        if expires <= issued:
            raise Malformed("rl_expires")
    except Malformed:
        return "malformed-link"
    key = KEYS.get(values["rl_key"])
    if key is None or not hmac.compare_digest(signature(key, path, pairs), values["rl_signature"]):
        return "bad-signature"
    if expires - issued > TTL_MAX:
        return "link-lives-too-long"
    if now < max(issued - 30, int(values.get("rl_not_before", 0))):
        return "link-not-yet-valid"
    return "link-expired" if now >= expires else "valid"


# --- the cases -----------------------------------------------------------------------------------

links = []


def add(name, outcome, query, path=PATH, now=NOW):
    assert verify(path, query, now) == outcome, (name, outcome, verify(path, query, now))
    case = {"name": name, "outcome": outcome, "path": path, "query": query, "now": now}
    if outcome != "malformed-link":
        pairs = parse(query)
        case["canonical_query"] = canonical(pairs)
        if outcome != "bad-signature":
            key = KEYS[dict(pairs)["rl_key"]]
            case["signature"] = signature(key, path, pairs)
    if outcome == "valid":
        case["user"] = dict(pairs)["rl_user"]
        case["filters"] = [list(pair) for pair in pairs if not pair[0].startswith("rl_")]
    links.append(case)


def base(**changes):
    pairs = {
        "from": "2026-01-01",
        "rl_user": "42",
        "rl_link": LINK_ID,
        "rl_issued": str(NOW),
        "rl_expires": str(NOW + 60),
        "rl_key": "2026b",
    }
    pairs.update({name.replace("__", "."): value for name, value in changes.items()})
    return [(name, value) for name, value in pairs.items() if value is not None]


def signed(pairs, path=PATH, spell=None):
    """A query under its real signature, in the canonical spelling or another one."""
    key = KEYS.get(dict(pairs).get("rl_key"), KEYS["2026b"])
    query = spell(pairs) if spell else canonical(pairs)
    return f"{query}&rl_signature={signature(key, path, pairs)}"


def valid_cases():
    add("plain", "valid", signed(base()))
    add("no filter", "valid", signed(base(**{"from": None})))
    add("older key", "valid", signed(base(rl_key="2026a")))
    add("another export", "valid", signed(base(), "/v1/exports/Daily_x-2.csv"), "/v1/exports/Daily_x-2.csv")

    for name, now in [
        ("in the second of issue", NOW),
        ("30 s before issue: clocks differ", NOW - 30),
        ("in the last second", NOW + 59),
    ]:
        add(name, "valid", signed(base()), now=now)
    add("longest life", "valid", signed(base(rl_expires=str(NOW + TTL_MAX))))
    add("shortest life", "valid", signed(base(rl_expires=str(NOW + 1))))
    add("not before now", "valid", signed(base(rl_not_before=str(NOW))))
    add("not before 0", "valid", signed(base(rl_not_before="0")))
    add("last second of 10 digits", "valid",
        signed(base(rl_issued="9999999940", rl_expires="9999999999")), now=9999999998)

    texts = [
        "", " ", "a b", "a+b", "a%20b", "%", "%%41", "&", "=", "a=b&c=d", "#", "?", "/", "\\", "'", '"',
        "' OR 1=1 --", "; drop table orders", "-._~", "!*'()", "ä", "Ω≈ç√", "日本語", "🎁🏳️‍🌈", "\u202e", "\ufeff",
        "é", "e\u0301", "line\nend", "tab\t", "\r", "\x7f", "\u0080", "rl_user=1", "[1,2]", "null", "A" * 300,
    ]
    for text in texts:
        add(f"filter {text[:20]!r}", "valid", signed(base(note=text)))
    for user in ["alice@example.com", "ünïcödé", "a b&c=d", "0", " ", "用户", "u" * 256]:
        add(f"user {user[:20]!r}", "valid", signed(base(rl_user=user)))
    for name in ["Bestellungen März", "注文.csv", "a&b=c.csv", "100%"]:
        add(f"file name {name!r}", "valid", signed(base(rl_filename=name)))

    add("claims", "valid", signed(base(rl_claim__org_id="7", rl_claim__region="EU west")))
    add("columns and options", "valid",
        signed(base(rl_columns="id,amount", rl_csv__delimiter=";", rl_csv__bom="true")))
    add("exact length", "valid", signed(base(rl_length="exact")))
    add("time zone and end line", "valid", signed(base(rl_timezone="Europe/Berlin", rl_end_line="true")))
    add("a list", "valid", signed(base() + [("status", "paid"), ("status", "open"), ("status", "paid")]))
    add("a filter named like a reserved one", "valid", signed(base(RL_user="1", rlx="2", user="3")))
    add("a name that needs escapes", "valid", signed(base(**{"a b&=ä": "1"})))

    pairs = base(note="a b/ü~", status="x")
    plain = lambda pairs: "&".join(f"{n}={quote(v, safe='')}" for n, v in pairs)
    spellings = {
        "reversed": lambda pairs: plain(pairs[::-1]),
        "rotated": lambda pairs: plain(pairs[3:] + pairs[:3]),
        "plus for space": lambda pairs: plain(pairs).replace("%20", "+"),
        "lower-case escapes": lambda pairs: re.sub("%..", lambda it: it[0].lower(), plain(pairs)),
        "tilde escaped": lambda pairs: plain(pairs).replace("~", "%7E"),
        "slash bare": lambda pairs: plain(pairs).replace("%2F", "/"),
        "letters escaped": lambda pairs: plain(pairs).replace("rl_user=42", "%72l_us%65r=%34%32"),
        "non-ASCII bare": lambda pairs: plain(pairs).replace("%C3%BC", "ü"),
    }
    for name, spell in spellings.items():
        add(f"spelled otherwise: {name}", "valid", signed(pairs, spell=spell))
    empty = lambda pairs: plain(pairs).replace("flag=", "flag")
    add("no equals sign", "valid", signed(base(flag=""), spell=empty))
    first = signed(base())
    query, _, value = first.rpartition("&rl_signature=")
    add("signature first", "valid", f"rl_signature={value}&{query}")


def malformed_cases():
    good = signed(base())
    for bad in ["%", "%4", "%g0", "%0g", "%%", "%u0041", "%ff", "%c3", "%c0%af", "%ed%a0%80", "%f4%90%80%80", "%00", "\0"]:
        add(f"bad escape {bad!r} in a value", "malformed-link", good.replace("2026-01-01", bad))
        add(f"bad escape {bad!r} in a name", "malformed-link", good.replace("from=", f"fr{bad}om="))
    add("empty query", "malformed-link", "")
    for name, query in [
        ("at the end", good + "&"),
        ("at the start", "&" + good),
        ("in the middle", good.replace("&rl_user", "&&rl_user")),
        ("an equals sign alone", good + "&="),
        ("a value alone", good + "&=x"),
    ]:
        add(f"no name: {name}", "malformed-link", query)
    for name in ["rl_user", "rl_link", "rl_issued", "rl_expires", "rl_key"]:
        add(f"without {name}", "malformed-link", signed(base(**{name: None})))
        add(f"empty {name}", "malformed-link", signed(base(**{name: ""})))
        value = dict(base())[name]
        add(f"{name} twice", "malformed-link", signed(base() + [(name, value)]))
    add("without a signature", "malformed-link", canonical(base()))
    value = good.rpartition("=")[2]
    for name, other in [
        ("empty", ""), ("truncated", value[:-1]), ("half", value[:32]), ("too long", value + "0"),
        ("upper case", value.upper()), ("not hex", "g" + value[1:]), ("with a space", " " + value[1:]),
        ("base64", base64.b64encode(bytes.fromhex(value)).decode()),
    ]:
        add(f"signature {name}", "malformed-link", f"{canonical(base())}&rl_signature={quote(other)}")
    add("signature twice", "malformed-link", f"{good}&rl_signature={value}")
    add("signature twice, spelled otherwise", "malformed-link", f"{good}&rl%5Fsignature={value}")
    for name in ["rl_issued", "rl_expires"]:
        for bad in ["01769853600", "+1769853600", "-1", "1769853600.0", "1e9", "17698536000", " 1769853600", "１７６９８５３６００", "0x10", "now"]:
            add(f"{name} {bad!r}", "malformed-link", signed(base(**{name: bad})))
    add("expires at issue", "malformed-link", signed(base(rl_expires=str(NOW))))
    add("expires before issue", "malformed-link", signed(base(rl_expires=str(NOW - 1))))
    add("not before a word", "malformed-link", signed(base(rl_not_before="soon")))
    for bad in ["a" * 17, "a.b", "a b", "ä", "a:b"]:
        add(f"key id {bad!r}", "malformed-link", signed(base(rl_key=bad)))
    for bad in ["a\nb", "\t", "\x7f", "\u0085", "u" * 257, "ü" * 129]:
        add(f"user {bad[:10]!r}", "malformed-link", signed(base(rl_user=bad)))
    for bad in [LINK_ID.upper(), LINK_ID.replace("-", ""), "{" + LINK_ID + "}", LINK_ID[:-1], "1"]:
        add(f"link id {bad!r}", "malformed-link", signed(base(rl_link=bad)))
    for bad in ["", "../x", "a/b", "a\\b", "a\nb", "\u202ecod.exe", " x", "x.", "x ", "CON", "nul.csv", "com1.x", "..", "x" * 151]:
        add(f"file name {bad[:10]!r}", "malformed-link", signed(base(rl_filename=bad)))
    for name, value in [("rl_claim.", "1"), ("rl_claim.a.b", "1"), ("rl_claim.ä", "1"), ("rl_claim.a", ""), ("rl_claim.a", "x\n")]:
        add(f"claim {name}={value!r}", "malformed-link", signed(base() + [(name, value)]))
    for name in ["rl_", "rl_x", "rl_admin", "rl_ip", "rl_sealed", "rl_csv", "rl_claim", "rl_User", "rl_max_rows"]:
        add(f"unknown {name}", "malformed-link", signed(base() + [(name, "1")]))


def forged_cases():
    pairs = base(status="paid", rl_claim__org_id="7")
    good = signed(pairs)
    query, _, value = good.rpartition("&rl_signature=")
    for i in range(0, 64, 4):
        digit = "0" if value[i] != "0" else "1"
        add(f"signature digit {i} changed", "bad-signature",
            f"{query}&rl_signature={value[:i]}{digit}{value[i + 1:]}")
    changes = {
        "from": "2026-01-02", "status": "Paid", "rl_user": "43", "rl_link": str(uuid.UUID(int=1)),
        "rl_issued": str(NOW + 1), "rl_expires": str(NOW + 61), "rl_key": "2026a", "rl_claim.org_id": "8",
    }
    for name, changed in changes.items():
        other = [(n, changed if n == name else v) for n, v in pairs]
        add(f"{name} changed", "bad-signature", f"{canonical(other)}&rl_signature={value}")
    for name in ["from", "status", "rl_claim.org_id"]:
        other = [(n, v) for n, v in pairs if n != name]
        add(f"{name} removed", "bad-signature", f"{canonical(other)}&rl_signature={value}")
    for name in ["to", "rl_filename", "rl_columns", "rl_csv.header", "rl_claim.x", "rl_not_before", "status"]:
        add(f"{name} added", "bad-signature", f"{query}&{name}=1&rl_signature={value}")
    add("a value moved to its name", "bad-signature", good.replace("status=paid", "statusp=aid"))
    add("names swapped", "bad-signature", good.replace("status=paid", "x=y").replace("from=", "status="))
    add("upper-case filter name", "bad-signature", good.replace("from=", "From="))
    add("escaped twice", "bad-signature", good.replace("from=2026-01-01", "from=2026%252D01-01"))
    add("composed for decomposed", "bad-signature",
        signed(base(note="e\u0301")).replace("e%CC%81", "%C3%A9"))
    for path in ["/v1/exports/Orders.csv", "/v1/exports/orders2.csv", "/v1/exports/order.csv", "/v1/exports/customers.csv"]:
        add(f"path {path}", "bad-signature", good, path)
    for key in ["2026c", "demo", "a", "A" * 16]:
        add(f"unknown key {key}", "bad-signature", good.replace("rl_key=2026b", f"rl_key={key}"))
    for name, digest in [
        ("no key", hmac.new(b"", string_to_sign(PATH, pairs).encode(), hashlib.sha256).hexdigest()),
        ("a key of zeros", hmac.new(bytes(32), string_to_sign(PATH, pairs).encode(), hashlib.sha256).hexdigest()),
        ("no MAC, a hash", hashlib.sha256(string_to_sign(PATH, pairs).encode()).hexdigest()),
        ("another label", hmac.new(KEYS["2026b"], string_to_sign(PATH, pairs).replace("ROWLINK1", "ROWLINK2").encode(), hashlib.sha256).hexdigest()),
        ("another hash", hmac.new(KEYS["2026b"], string_to_sign(PATH, pairs).encode(), hashlib.sha3_256).hexdigest()),
        ("no label", hmac.new(KEYS["2026b"], f"{PATH}\n{canonical(pairs)}".encode(), hashlib.sha256).hexdigest()),
        ("no path", hmac.new(KEYS["2026b"], f"ROWLINK1-HMAC-SHA256\n{canonical(pairs)}".encode(), hashlib.sha256).hexdigest()),
        ("a line end more", hmac.new(KEYS["2026b"], (string_to_sign(PATH, pairs) + "\n").encode(), hashlib.sha256).hexdigest()),
        ("zeros", "0" * 64),
    ]:
        add(f"signed with {name}", "bad-signature", f"{query}&rl_signature={digest}")
        add(f"signed with {name}, unknown key id", "bad-signature",
            f"{query.replace('2026b', 'nobody')}&rl_signature={digest}")


def untimely_cases():
    for name, now in [("in its first second over", NOW + 60), ("one second later", NOW + 61), ("a year later", NOW + 31536000)]:
        add(f"expired: {name}", "link-expired", signed(base()), now=now)
    add("expired under the older key", "link-expired", signed(base(rl_key="2026a")), now=NOW + 60)
    for name, now in [("31 s before issue", NOW - 31), ("at 0", 0)]:
        add(f"not yet: {name}", "link-not-yet-valid", signed(base()), now=now)
    add("not yet: not before the next second", "link-not-yet-valid", signed(base(rl_not_before=str(NOW + 1))))
    add("not yet: no grace for not before", "link-not-yet-valid", signed(base(rl_not_before=str(NOW))), now=NOW - 1)
    for seconds in [TTL_MAX + 1, 86400, 8000000000]:
        add(f"lives {seconds} s", "link-lives-too-long", signed(base(rl_expires=str(NOW + seconds))))
    add("lives too long and is over", "link-lives-too-long",
        signed(base(rl_expires=str(NOW + TTL_MAX + 1))), now=NOW + TTL_MAX + 1)


def main():
    valid_cases()
    malformed_cases()
    forged_cases()
    untimely_cases()
    names = [case["name"] for case in links]
    assert len(set(names)) == len(names), "two cases of one name"
    valid = sum(case["outcome"] == "valid" for case in links)
    assert valid >= 60 and len(links) - valid >= 150, (valid, len(links))
    document = {
        "keys": [f"{key_id}:{base64.b64encode(key).decode()}" for key_id, key in KEYS.items()],
        "ttl_seconds_max": TTL_MAX,
        "links": links,
    }
    text = json.dumps(document, indent=1) + "\n"
    file = pathlib.Path(__file__).with_name("links.json")
    if "--check" in sys.argv:
        if file.read_text() != text:
            sys.exit("links.json is not what make_links.py makes")
    else:
        file.write_text(text)
    print(f"{valid} valid links, {len(links) - valid} invalid ones")


if __name__ == "__main__":
    main()

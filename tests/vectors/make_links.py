#!/usr/bin/env python3
"""Generates links.json: signed links with their expected outcome, as test vectors for any implementation.

This second implementation of docs/signed-link.md shares no code with the first. It needs only the standard library.

    make_links.py            write links.json
    make_links.py --check    fail unless links.json is what would be written
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import pathlib
import re
import sys
import uuid
from urllib.parse import quote

import xchacha

NOW = 1769853600
TTL_MAX = 3600
KEYS = {
    "2026b": b"0123456789abcdef0123456789abcdef",
    "2026a": b"fedcba9876543210fedcba9876543210-and-longer-than-the-block-of-64-bytes!",
}
PATH = "/v1/exports/orders.csv"
FILES_PATH = "/v1/files/invoice"
LINK_ID = "0198c2f4-6f3a-7cc1-9b2e-0242ac120002"
CLIENT = "192.0.2.7"
NONCE = bytes(range(24))


# --- the second implementation of the specification ---------------------------------------------


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


def is_reason(text):
    controls = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)
    return 1 <= len(text) <= 200 and not controls


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


def is_network(text):
    """Returns whether a text is an address without a zone, or a network whose bits after the prefix are zero."""
    try:
        network = ipaddress.ip_network(text)
        is_mapped = network.version == 6 and network.network_address.ipv4_mapped
        return "%" not in text and not is_mapped and re.fullmatch("[^/]*(/(0|[1-9][0-9]*))?", text)
    except ValueError:
        return False


def is_reveal(text):
    names = text.split(",")
    return all(is_text(name) for name in names) and len(set(names)) == len(names)


def is_scope(text):
    try:
        pairs = parse(text)
    except Malformed:
        return False
    names = [name for name, _ in pairs if name not in ("export", "reveal")]
    return (
        canonical(pairs) == text
        and len(set(names)) == len(names)
        and len(set(pairs)) == len(pairs)
        and all(re.fullmatch(r"export|reveal|user|user_prefix|claim\.[A-Za-z0-9_]{1,64}", name) for name, _ in pairs)
        and all(is_text(value) for _, value in pairs)
    )


SECONDS = r"0|[1-9][0-9]{0,9}"
COUNT = r"[1-9][0-9]{0,14}"
ENVELOPE = {
    "rl_signature": lambda v: re.fullmatch("[0-9a-f]{64}", v),
    "rl_key": lambda v: re.fullmatch("[A-Za-z0-9_-]{1,16}", v),
    "rl_issued": lambda v: re.fullmatch(SECONDS, v),
    "rl_expires": lambda v: re.fullmatch(SECONDS, v),
    "rl_link": lambda v: re.fullmatch("[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", v),
}
OPTIONAL_ENVELOPE = {"rl_scope": is_scope, "rl_sealed": lambda v: True}
CONTENTS = {"rl_user": is_text}
OPTIONAL_CONTENTS = {
    "rl_not_before": lambda v: re.fullmatch(SECONDS, v),
    "rl_ip": is_network,
    "rl_max_rows": lambda v: re.fullmatch(COUNT, v),
    "rl_max_bytes": lambda v: re.fullmatch(COUNT, v),
    "rl_resume": lambda v: re.fullmatch(COUNT, v),
    "rl_single_use": lambda v: v == "true",
    "rl_confirm": lambda v: v == "true",
    "rl_bind": lambda v: re.fullmatch("[0-9a-f]{64}", v),
    "rl_reason": is_reason,
    "rl_filename": is_file_name,
    "rl_reveal": is_reveal,
}
OPTIONS = ("rl_columns", "rl_timezone", "rl_language", "rl_end_line", "rl_length", "rl_delivery")


def check(pairs, required, optional, is_free):
    """Returns the reserved parameters by name. Raises Malformed for duplicate or unknown ones."""
    reserved = [name for name, _ in pairs if name.startswith("rl_")]
    if len(set(reserved)) != len(reserved):
        raise Malformed("twice")
    values = {name: value for name, value in pairs if name.startswith("rl_")}
    for name, fits in required.items():
        if name not in values or not fits(values[name]):
            raise Malformed(name)
    for name, value in values.items():
        if name in optional:
            if not optional[name](value):
                raise Malformed(name)
        elif name not in required and not is_free(name, value):
            raise Malformed(name)
    return values


def is_option_or_claim(name, value):
    if name.startswith("rl_claim."):
        return re.fullmatch(r"rl_claim\.[A-Za-z0-9_]{1,64}", name) and is_text(value)
    return name in OPTIONS or re.match(r"rl_[a-z0-9]{1,16}\.", name)


def nothing(name, value):
    return False


def child_key(key, scope):
    return hmac.new(key, f"ROWLINK1-SCOPE\n{scope}".encode(), hashlib.sha256).digest()


def signing_key(values):
    key = KEYS.get(values["rl_key"])
    return child_key(key, values["rl_scope"]) if key and "rl_scope" in values else key


def seal_key(key):
    """Derives the sealing key by HKDF-SHA256 without salt (RFC 5869)."""
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, b"rowlink seal v1\1", hashlib.sha256).digest()


def associated_data(path, pairs):
    envelope = [pair for pair in pairs if pair[0] not in ("rl_sealed", "rl_signature")]
    return f"ROWLINK1-XCHACHA20-POLY1305\n{path}\n{canonical(envelope)}"


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def seal(key, path, envelope, contents):
    """Returns the parameter with the encrypted contents of an envelope."""
    box = xchacha.seal(seal_key(key), NONCE, associated_data(path, envelope).encode(), contents.encode())
    return ("rl_sealed", base64url(NONCE + box))


def unseal(key, path, pairs):
    text = dict(pairs)["rl_sealed"]
    try:
        box = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise Malformed("rl_sealed") from error
    if base64url(box) != text or len(box) < 40:
        raise Malformed("rl_sealed")
    opened = xchacha.open_box(seal_key(key), box[:24], associated_data(path, pairs).encode(), box[24:])
    if opened is None:
        raise Malformed("rl_sealed")
    return opened.decode()


def export_of(path):
    """Returns the name of the export in a path. Raises ValueError if it is no path of a download."""
    found = re.fullmatch(r"/v1/(?:exports/([A-Za-z0-9_-]{1,64})\.[a-z0-9]{1,16}|files/([A-Za-z0-9_-]{1,64}))", path)
    if not found:
        raise ValueError(path)
    return found[1] or found[2]


def is_in(scope, path, values):
    """Returns whether a link is inside the scope of a child key."""
    pairs = parse(scope)
    exports = [value for name, value in pairs if name == "export"]
    claims = {f"rl_{name}": value for name, value in pairs if name.startswith("claim.")}
    revealable = [value for name, value in pairs if name == "reveal"]
    revealed = values["rl_reveal"].split(",") if "rl_reveal" in values else []
    return (
        (not exports or export_of(path) in exports)
        and values["rl_user"] == dict(pairs).get("user", values["rl_user"])
        and values["rl_user"].startswith(dict(pairs).get("user_prefix", ""))
        and {name: value for name, value in values.items() if name.startswith("rl_claim.")} == claims
        and all(name in revealable for name in revealed)
    )


def verify(path, query, now, client):
    """Returns outcome and contents. Checks syntax, key id, MAC, scope, times and address, in this order."""
    try:
        pairs = parse(query)
        names = [name for name, _ in pairs]
        if "rl_sealed" in names:
            if not all(name.startswith("rl_") for name in names):
                raise Malformed("a filter beside rl_sealed")
            values = check(pairs, ENVELOPE, OPTIONAL_ENVELOPE, nothing)
        else:
            optional = OPTIONAL_ENVELOPE | OPTIONAL_CONTENTS
            values = check(pairs, ENVELOPE | CONTENTS, optional, is_option_or_claim)
        issued, expires = int(values["rl_issued"]), int(values["rl_expires"])
        if expires <= issued:
            raise Malformed("rl_expires")
    except Malformed:
        return "malformed-link", None
    key = signing_key(values)
    if key is None or not hmac.compare_digest(signature(key, path, pairs), values["rl_signature"]):
        return "bad-signature", None
    contents = pairs
    if "rl_sealed" in values:
        try:
            contents = parse(unseal(key, path, pairs))
            values |= check(contents, CONTENTS, OPTIONAL_CONTENTS, is_option_or_claim)
        except Malformed:
            return "malformed-link", None
    if "rl_scope" in values and not is_in(values["rl_scope"], path, values):
        return "outside-scope", contents
    if max(expires - issued, int(values.get("rl_resume", 0))) > TTL_MAX:
        return "link-lives-too-long", contents
    if now < max(issued - 30, int(values.get("rl_not_before", 0))):
        return "link-not-yet-valid", contents
    if now >= expires:
        return "link-expired", contents
    if "rl_ip" in values and ipaddress.ip_address(client) not in ipaddress.ip_network(values["rl_ip"]):
        return "wrong-address", contents
    return "valid", contents


def entity_tag(key, link_signature, sha256):
    text = f"ROWLINK1-ENTITY-TAG\n{link_signature}\n{sha256.hex()}"
    mac = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f'"{base64url(sha256 + mac)}"'


# --- the cases -----------------------------------------------------------------------------------

links = []


def add(name, outcome, query, path=PATH, now=NOW, client=CLIENT):
    found, contents = verify(path, query, now, client)
    assert found == outcome, (name, outcome, found)
    export_of(path)  # Raises if no server has this path.
    case = {"name": name, "outcome": outcome, "path": path, "query": query, "now": now, "client": client}
    if outcome != "malformed-link":
        pairs = parse(query)
        case["canonical_query"] = canonical(pairs)
        if outcome != "bad-signature":
            values = dict(pairs)
            case["signature"] = signature(signing_key(values), path, pairs)
            if "rl_sealed" in values:
                case["associated_data"] = associated_data(path, pairs)
                case["contents"] = canonical(contents)
    if outcome == "valid":
        case["user"] = dict(contents)["rl_user"]
        case["filters"] = [list(pair) for pair in contents if not pair[0].startswith("rl_")]
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


def signed(pairs, path=PATH, spell=None, key=None):
    """Returns a query with its valid signature, in the canonical or another encoding."""
    values = dict(pairs)
    key = key or signing_key({"rl_key": ""} | values) or KEYS["2026b"]
    query = spell(pairs) if spell else canonical(pairs)
    return f"{query}&rl_signature={signature(key, path, pairs)}"


def sealed(pairs, path=PATH, contents=None):
    """Returns a signed query with sealed contents."""
    is_envelope = lambda pair: pair[0] in ENVELOPE or pair[0] == "rl_scope"
    envelope = [pair for pair in pairs if is_envelope(pair)]
    if contents is None:
        contents = canonical([pair for pair in pairs if not is_envelope(pair)])
    return signed([*envelope, seal(signing_key(dict(pairs)), path, envelope, contents)], path)


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
    add("delivery", "valid", signed(base(rl_delivery="stored")))
    add("language", "valid", signed(base(rl_language="de-AT")))
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


def condition_cases():
    for network, client in [
        ("192.0.2.7", "192.0.2.7"), ("192.0.2.0/24", "192.0.2.255"), ("0.0.0.0/0", "8.8.8.8"),
        ("2001:db8::/32", "2001:db8:ffff::1"), ("2001:db8::1", "2001:db8::1"),
    ]:
        add(f"{client} in {network}", "valid", signed(base(rl_ip=network)), client=client)
    # Non-canonical networks, which are valid inside sealed contents.
    for network, client in [("192.0.2.7/32", "192.0.2.7"), ("2001:DB8:0::1", "2001:db8::1")]:
        add(f"{client} in {network}", "valid", sealed(base(rl_ip=network)), client=client)
    for network, client in [
        ("192.0.2.7", "192.0.2.8"), ("192.0.2.0/24", "192.0.3.0"), ("192.0.2.0/24", "2001:db8::1"),
        ("2001:db8::/32", "192.0.2.7"), ("2001:db8::1", "2001:db8::2"),
    ]:
        add(f"{client} not in {network}", "wrong-address", signed(base(rl_ip=network)), client=client)
    add("wrong address, sealed", "wrong-address", sealed(base(rl_ip="192.0.2.8")))
    add("wrong address and over", "link-expired", signed(base(rl_ip="192.0.2.8")), now=NOW + 60)
    for bad in ["", "192.0.2", "192.0.2.7/24", "192.0.2.0/33", "192.0.2.0/255.255.255.0", "::1/129", "2001:db8::1/32",
                "localhost", "192.0.2.7:80", "[::1]", "fe80::1%eth0", "192.0.2.07", "192.0.2.00/24", "192.0.2.0/024", "192.0.2.0/+24", "192.0.2.0/", "::ffff:192.0.2.7", "::ffff:192.0.2.0/120", " 192.0.2.7", "192.0.2.7,192.0.2.8"]:
        add(f"address {bad!r}", "malformed-link", signed(base(rl_ip=bad)))
    for name in ["rl_max_rows", "rl_max_bytes", "rl_resume"]:
        for count in ["1", "1000", str(TTL_MAX) if name == "rl_resume" else "9" * 15]:
            add(f"{name} {count}", "valid", signed(base(**{name: count})))
        for bad in ["", "0", "01", "-1", "1.5", "1e3", "9" * 16, "many"]:
            add(f"{name} {bad!r}", "malformed-link", signed(base(**{name: bad})))
    for name in ["rl_single_use", "rl_confirm"]:
        add(name, "valid", signed(base(**{name: "true"})))
        add(f"{name}, sealed", "valid", sealed(base(**{name: "true"})))
        add(f"{name} removed", "bad-signature", signed(base(**{name: "true"})).replace(f"&{name}=true", ""))
        add(f"{name} twice", "malformed-link", signed(base() + [(name, "true")] * 2))
        for bad in ["", "false", "TRUE", "1", "true ", "yes"]:
            add(f"{name} {bad!r}", "malformed-link", signed(base(**{name: bad})))
            add(f"{name} {bad!r}, sealed", "malformed-link", sealed(base(**{name: bad})))
    cookie, other = (hashlib.sha256(text).hexdigest() for text in (b"session", b"another session"))
    add("rl_bind", "valid", signed(base(rl_bind=cookie)))
    add("rl_bind, sealed", "valid", sealed(base(rl_bind=cookie)))
    add("rl_bind removed", "bad-signature", signed(base(rl_bind=cookie)).replace(f"rl_bind={cookie}&", ""))
    add("rl_bind of another cookie", "bad-signature", signed(base(rl_bind=cookie)).replace(cookie, other))
    add("rl_bind twice", "malformed-link", signed(base() + [("rl_bind", cookie)] * 2))
    for name, bad in [
        ("empty", ""), ("too short", cookie[:-1]), ("too long", cookie + "0"), ("in upper case", cookie.upper()),
        ("not hex", "g" + cookie[1:]), ("with a space", " " + cookie[1:]), ("a cookie", "session"),
        ("base64", base64.b64encode(bytes.fromhex(cookie)).decode()),
    ]:
        add(f"rl_bind {name}", "malformed-link", signed(base(rl_bind=bad)))
        add(f"rl_bind {name}, sealed", "malformed-link", sealed(base(rl_bind=bad)))
    for reason in ["ticket 4711", " ", "&=%+#'\"", "Größe: 5 µm", "🎁" * 20, "r" * 200, "ü" * 200]:
        add(f"reason {reason[:20]!r}", "valid", signed(base(rl_reason=reason)))
        add(f"reason {reason[:20]!r}, sealed", "valid", sealed(base(rl_reason=reason)))
    add("reason removed", "bad-signature", signed(base(rl_reason="x")).replace("rl_reason=x&", ""))
    add("reason changed", "bad-signature", signed(base(rl_reason="x")).replace("rl_reason=x", "rl_reason=y"))
    add("reason twice", "malformed-link", signed(base() + [("rl_reason", "x")] * 2))
    for bad in ["", "a\nb", "\t", "\x7f", "\u0085", "r" * 201, "ü" * 201]:
        add(f"reason {bad[:10]!r} of {len(bad)}", "malformed-link", signed(base(rl_reason=bad)))
        add(f"reason {bad[:10]!r} of {len(bad)}, sealed", "malformed-link", sealed(base(rl_reason=bad)))
    add("all conditions", "valid",
        signed(base(rl_reason="ticket 4711", rl_ip="192.0.2.0/24", rl_max_rows="10", rl_max_bytes="1000", rl_resume="600", rl_not_before=str(NOW),
                    rl_single_use="true", rl_confirm="true", rl_bind=cookie)))


def reveal_cases():
    """Adds links that show columns with a scope."""
    for text in ["email", "email,phone", "phone,email", "E-Mail des K\u00e4ufers", "a b,c.d", " ", "=&", "x" * 256]:
        add(f"reveal {text[:20]!r}", "valid", signed(base(rl_reveal=text)))
        add(f"reveal {text[:20]!r}, sealed", "valid", sealed(base(rl_reveal=text)))
    for bad in ["", ",", "email,", ",email", "a,,b", "email,email", "a,b,a", "a\nb", "\x7f", "y" * 257]:
        add(f"reveal {bad[:20]!r}", "malformed-link", signed(base(rl_reveal=bad)))
        add(f"reveal {bad[:20]!r}, sealed", "malformed-link", sealed(base(rl_reveal=bad)))
    add("reveal twice", "malformed-link", signed(base(rl_reveal="email") + [("rl_reveal", "phone")]))
    add("reveal beside a box", "malformed-link",
        signed([*[pair for pair in parse(sealed(base())) if pair[0] != "rl_signature"], ("rl_reveal", "email")]))
    good = signed(base(rl_reveal="email"))
    add("reveal added", "bad-signature", signed(base()).replace("&rl_signature", "&rl_reveal=email&rl_signature"))
    add("reveal changed", "bad-signature", good.replace("rl_reveal=email", "rl_reveal=phone"))
    add("reveal extended", "bad-signature", good.replace("rl_reveal=email", "rl_reveal=email%2Cphone"))
    add("reveal removed", "bad-signature", good.replace("rl_reveal=email&", ""))
    for name, outcome, scope, text in [
        ("no column", "outside-scope", "export=orders", "email"),
        ("another column", "outside-scope", "export=orders&reveal=phone", "email"),
        ("one of two", "outside-scope", "export=orders&reveal=email", "email,phone"),
        ("a column of another case", "outside-scope", "export=orders&reveal=Email", "email"),
        ("the column", "valid", "export=orders&reveal=email", "email"),
        ("both columns", "valid", "export=orders&reveal=email&reveal=phone", "phone,email"),
        ("the column, without it", "valid", "export=orders&reveal=email", None),
    ]:
        pairs = base(rl_scope=scope, rl_reveal=text)
        add(f"reveal, child key for {name}", outcome, signed(pairs))
        add(f"reveal, child key for {name}, sealed", outcome, sealed(pairs))
    for bad in ["export=orders&reveal=", "export=orders&reveal=email&reveal=email", "reveal=email&export=orders"]:
        add(f"scope {bad!r}", "malformed-link", signed(base(rl_scope=bad)))


def files_cases():
    """Adds links to stored documents, whose path has no format."""
    pairs = base(**{"from": None}, invoice="7")
    add("a document", "valid", signed(pairs, FILES_PATH), FILES_PATH)
    add("a document, sealed", "valid", sealed(pairs, FILES_PATH), FILES_PATH)
    add("a document under the older key", "valid", signed(base(rl_key="2026a"), FILES_PATH), FILES_PATH)
    add("a document, single use, confirmed", "valid",
        signed(base(rl_single_use="true", rl_confirm="true"), FILES_PATH), FILES_PATH)
    add("a document, expired", "link-expired", signed(pairs, FILES_PATH), FILES_PATH, now=NOW + 60)
    add("a document, malformed", "malformed-link", signed(base(rl_user=None), FILES_PATH), FILES_PATH)
    other = "/v1/files/receipt"
    add("another document", "valid", signed(pairs, other), other)
    add("a signature of another document", "bad-signature", signed(pairs, other), FILES_PATH)
    add("a box of another document", "malformed-link",
        signed([*[pair for pair in pairs if pair[0] in ENVELOPE],
                ("rl_sealed", dict(parse(sealed(pairs, other)))["rl_sealed"])], FILES_PATH), FILES_PATH)
    for export in ["invoice", "orders"]:
        rows, files = f"/v1/exports/{export}.csv", f"/v1/files/{export}"
        for kind, sign in [("a signature", signed), ("a sealed link", sealed)]:
            add(f"{kind} of {rows} moved to {files}", "bad-signature", sign(base(), rows), files)
            add(f"{kind} of {files} moved to {rows}", "bad-signature", sign(base(), files), rows)

    for name, outcome, scope, changes in [
        ("its export", "valid", "export=invoice", {}),
        ("its export and user", "valid", "export=invoice&user=42", {}),
        ("its claim", "valid", "claim.org_id=7&user_prefix=4", {"rl_claim__org_id": "7"}),
        ("another export", "outside-scope", "export=orders", {}),
        ("an export whose name starts alike", "outside-scope", "export=invoic", {}),
        ("another user", "outside-scope", "export=invoice&user=43", {}),
    ]:
        pairs = base(rl_scope=scope, **changes)
        add(f"a document, child key for {name}", outcome, signed(pairs, FILES_PATH), FILES_PATH)
        add(f"a document, child key for {name}, sealed", outcome, sealed(pairs, FILES_PATH), FILES_PATH)
    # One scope covers the rows and the documents of an export.
    rows = "/v1/exports/invoice.csv"
    add("rows, child key for an export of documents", "valid", signed(base(rl_scope="export=invoice"), rows), rows)


def scope_cases():
    for name, scope, changes in [
        ("an export", "export=orders", {}),
        ("one of two exports", "export=customers&export=orders", {}),
        ("users", "user_prefix=4", {}),
        ("users and an export", "export=orders&user_prefix=tenant7%3A", {"rl_user": "tenant7:42"}),
        ("a claim", "claim.org_id=7", {"rl_claim__org_id": "7"}),
        ("everything", "claim.org_id=7&export=orders&user_prefix=42", {"rl_claim__org_id": "7"}),
        ("letters beyond ASCII", "user_prefix=%C3%BC", {"rl_user": "\u00fc1"}),
        ("one user", "user=42", {}),
        ("one user with a prefix", "user=tenant7%3A42&user_prefix=tenant7%3A", {"rl_user": "tenant7:42"}),
    ]:
        pairs = base(rl_scope=scope, **changes)
        add(f"child key for {name}", "valid", signed(pairs))
        add(f"child key for {name}, sealed", "valid", sealed(pairs))
        add(f"signed by the parent of a child key for {name}", "bad-signature", signed(pairs, key=KEYS["2026b"]))
        without = [pair for pair in pairs if pair[0] != "rl_scope"]
        add(f"child key for {name}, without its scope", "bad-signature",
            signed(without, key=child_key(KEYS["2026b"], scope)))
        add(f"child key for {name}, another scope", "bad-signature",
            signed([*without, ("rl_scope", "user_prefix=tenant")], key=child_key(KEYS["2026b"], scope)))
        add(f"child key for {name}, of an unknown key", "bad-signature",
            signed(pairs).replace("rl_key=2026b", "rl_key=nobody"))
    for name, scope, changes in [
        ("another export", "export=customers", {}),
        ("an export whose name starts alike", "export=order", {}),
        ("another user", "user_prefix=43", {}),
        ("a user of another case", "user_prefix=A", {"rl_user": "a"}),
        ("a claim that the scope does not name", "export=orders", {"rl_claim__org_id": "7"}),
        ("another value of a claim", "claim.org_id=8", {"rl_claim__org_id": "7"}),
        ("a claim that is missing", "claim.org_id=7", {}),
        ("a longer user", "user=4", {}),
        ("a user that does not start with the prefix", "user=42&user_prefix=5", {}),
    ]:
        add(f"outside: {name}", "outside-scope", signed(base(rl_scope=scope, **changes)))
        add(f"outside: {name}, sealed", "outside-scope", sealed(base(rl_scope=scope, **changes)))
    add("outside and over", "outside-scope", signed(base(rl_scope="export=customers")), now=NOW + 60)
    for bad in ["", "export", "export=", "orders", "export=a+b", "export=%6f", "user_prefix=b&export=a", "export=a&export=a",
                "user_prefix=a&user_prefix=b", "user=a&user=b", "user=", "claim.a=1&claim.a=2", "claim.=1", "ttl=60", "export=%", "user_prefix=%0A"]:
        add(f"scope {bad!r}", "malformed-link", signed(base(rl_scope=bad)))


def sealed_cases():
    add("sealed", "valid", sealed(base()))
    add("sealed, no filter", "valid", sealed(base(**{"from": None})))
    add("sealed, older key", "valid", sealed(base(rl_key="2026a")))
    add("sealed, everything", "valid",
        sealed(base(rl_filename="Bestellungen M\u00e4rz", rl_claim__org_id="7", rl_columns="id", rl_ip="192.0.2.0/24",
                    rl_max_rows="10", rl_not_before=str(NOW), note="a b/\U0001f381") + [("from", "x")]))
    add("sealed, over", "link-expired", sealed(base()), now=NOW + 60)
    add("sealed, not yet", "link-not-yet-valid", sealed(base(rl_not_before=str(NOW + 1))))
    add("sealed, lives too long", "link-lives-too-long", sealed(base(rl_expires=str(NOW + TTL_MAX + 1))))

    good = sealed(base())
    pairs = [pair for pair in parse(good) if pair[0] != "rl_signature"]
    box = dict(pairs)["rl_sealed"]
    envelope = [pair for pair in pairs if pair[0] != "rl_sealed"]
    add("sealed, box changed", "bad-signature", good.replace(box, "B" + box[1:]))
    add("sealed, expiry changed", "bad-signature", good.replace(f"rl_expires={NOW + 60}", f"rl_expires={NOW + 61}"))
    add("sealed, path changed", "bad-signature", good, "/v1/exports/customers.csv")
    other = lambda text: signed([*envelope, ("rl_sealed", text)])
    flipped = base64.urlsafe_b64decode(box + "=" * (-len(box) % 4))
    flipped = base64url(flipped[:-1] + bytes([flipped[-1] ^ 1]))
    for name, text in [
        ("empty", ""), ("a nonce alone", base64url(NONCE)), ("changed, and signed again", flipped),
        ("padded", box + "="), ("of the other alphabet", box.replace("-", "+").replace("_", "/") + "+"),
        ("with a space", box + " "), ("cut", box[:-4]),
        ("of another path", dict(parse(sealed(base(), "/v1/exports/customers.csv")))["rl_sealed"]),
        ("of another key", dict(parse(sealed(base(rl_key="2026a"))))["rl_sealed"]),
        ("of another expiry", dict(parse(sealed(base(rl_expires=str(NOW + 59)))))["rl_sealed"]),
    ]:
        add(f"box {name}", "malformed-link", other(text))
    for name, value in [("rl_user", "42"), ("rl_filename", "x"), ("rl_ip", "192.0.2.7"), ("rl_max_rows", "1"),
                        ("rl_not_before", "0"), ("rl_single_use", "true"), ("rl_confirm", "true"), ("rl_bind", "0" * 64),
                        ("rl_reason", "x"), ("rl_claim.a", "1"), ("rl_columns", "id"), ("from", "x")]:
        add(f"{name} beside a box", "malformed-link", signed([*pairs, (name, value)]))
    for name, contents in [
        ("nothing", ""), ("no user", "from=x"), ("a bad user", "rl_user=%0A"), ("rl_user twice", "rl_user=1&rl_user=1"),
        ("a bad escape", "rl_user=%"), ("an unknown parameter", "rl_user=1&rl_x=1"), ("a bad address", "rl_ip=x&rl_user=1"),
        *[(name, f"rl_user=42&{name}={quote(value)}") for name, value in [*parse(good), ("rl_scope", "export=orders")]],
    ]:
        add(f"box with {name}", "malformed-link", sealed(base(), contents=contents))


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
    for name in ["rl_", "rl_x", "rl_admin", "rl_csv", "rl_claim", "rl_User", "rl_max", "rl_seal"]:
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
    for name in ["to", "rl_filename", "rl_columns", "rl_csv.header", "rl_claim.x", "rl_not_before", "rl_max_rows", "status"]:
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
        add(f"may be continued for {seconds} s", "link-lives-too-long", signed(base(rl_resume=str(seconds))))
        add(f"lives {seconds} s", "link-lives-too-long", signed(base(rl_expires=str(NOW + seconds))))
    add("lives too long and is over", "link-lives-too-long",
        signed(base(rl_expires=str(NOW + TTL_MAX + 1))), now=NOW + TTL_MAX + 1)


def entity_tags():
    """Returns tags of files of some links, made by the first key, which need not be the key of the link."""
    key = next(iter(KEYS.values()))
    cases = [case for case in links if case["outcome"] == "valid"][:5]
    hashes = [hashlib.sha256(case["name"].encode()).digest() for case in cases]
    return [{"path": case["path"], "query": case["query"], "now": case["now"], "client": case["client"],
             "sha256": sha256.hex(), "entity_tag": entity_tag(key, case["signature"], sha256)}
            for case, sha256 in zip(cases, hashes)]


def main():
    valid_cases()
    condition_cases()
    reveal_cases()
    files_cases()
    scope_cases()
    sealed_cases()
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
        "entity_tags": entity_tags(),
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

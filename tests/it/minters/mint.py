"""Signs one link per form-encoded line of standard input; prints one URL per line."""

import sys
from urllib.parse import parse_qsl

from rowlink import mint

for line in sys.stdin:
    said = {"filter": {}, "claim": {}, "option": {}}
    for name, value in parse_qsl(line.rstrip("\n"), keep_blank_values=True, strict_parsing=True):
        group, _, member = name.partition(".")
        if group == "filter":
            said["filter"].setdefault(member, []).append(value)
        elif group in said:
            said[group][member] = value
        else:
            said[name] = value
    number = lambda name: int(said[name]) if name in said else None
    try:
        print(mint(
            said["public_url"], said["key"], said["export"], said["format"], user=said["user"],
            expires_in=number("expires_in"), filters=said["filter"], claims=said["claim"], options=said["option"],
            filename=said.get("filename"), not_before=number("not_before"), ip=said.get("ip"),
            max_rows=number("max_rows"), max_bytes=number("max_bytes"), issued=number("issued"),
            link_id=said.get("link_id"),
        ))
    except ValueError as refusal:
        print("refused", refusal)

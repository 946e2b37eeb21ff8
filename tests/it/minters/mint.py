"""Signs one link per form-encoded line of standard input; prints one URL per line."""

import sys
from urllib.parse import parse_qsl

from rowlink import mint

for line in sys.stdin:
    fields = {"filter": {}, "claim": {}, "option": {}}
    for name, value in parse_qsl(line.rstrip("\n"), keep_blank_values=True, strict_parsing=True):
        group, _, member = name.partition(".")
        if group == "filter":
            fields["filter"].setdefault(member, []).append(value)
        elif group in fields:
            fields[group][member] = value
        else:
            fields[name] = value
    number = lambda name: int(fields[name]) if name in fields else None
    flag = lambda name: fields[name] == "true" if name in fields else None
    try:
        print(mint(
            fields["public_url"], fields["key"], fields["export"], fields.get("format"), user=fields["user"],
            expires_in=number("expires_in"), filters=fields["filter"], claims=fields["claim"], options=fields["option"],
            reveal=fields["reveal"].split(",") if "reveal" in fields else None,
            filename=fields.get("filename"), not_before=number("not_before"), ip=fields.get("ip"),
            max_rows=number("max_rows"), max_bytes=number("max_bytes"),
            resume_seconds=number("resume_seconds"), single_use=flag("single_use"), confirm=flag("confirm"),
            bind=fields.get("bind"), reason=fields.get("reason"), issued=number("issued"), link_id=fields.get("link_id"),
        ))
    except ValueError as refusal:
        print("refused", refusal)

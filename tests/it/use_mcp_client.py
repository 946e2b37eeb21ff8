"""Uses `rowlink mcp` with the official Python client, over both transports; prints what it saw as JSON.

use_mcp_client.py ROWLINK DEPLOYMENT MCP_URL FILE    ROWLINK_TOKEN is the token of the deployment
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

rowlink, deployment, mcp_url, file = sys.argv[1:]
token = os.environ["ROWLINK_TOKEN"]
orders = {"export": "orders", "filters": {"from": "2026-01-01"}}


async def use(client):
    # The client checks each result against the output schema of its tool.
    tools = {tool.name for tool in (await client.list_tools()).tools}
    listed = (await client.call_tool("list_exports", {})).structured_content
    preview = (await client.call_tool("preview_rows", orders)).structured_content
    estimate = (await client.call_tool("estimate_rows", orders)).structured_content
    created = await client.call_tool("create_link", orders | {"format": "csv"})
    links = [block.uri for block in created.content if block.type == "resource_link"]
    refused = await client.call_tool("create_link", {"export": "nothing", "format": "csv"})
    data = refused.content[0].text.split("<rowlink-data>\n")[1].split("\n</rowlink-data>")[0]
    complete = None
    if "check_file" in tools:
        complete = (await client.call_tool("check_file", {"path": file})).structured_content["complete"]
    return {
        "version": client.protocol_version,
        "exports": [export["name"] for export in listed["exports"]],
        "rows": len(preview["rows"]),
        "estimated": estimate["estimated_rows"],
        "link": str(links[0]),
        "error": json.loads(data)["code"] if refused.is_error else None,
        "complete": complete,
    }


async def main():
    seen = {}
    environment = {"ROWLINK_URL": deployment, "ROWLINK_TOKEN": token}
    for mode in ["auto", "legacy"]:
        stdio = StdioServerParameters(command=rowlink, args=["mcp"], env=environment)
        async with Client(stdio, mode=mode) as client:
            seen[f"stdio {mode}"] = await use(client)
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers) as http:
            async with Client(streamable_http_client(mcp_url, http_client=http), mode=mode) as client:
                seen[f"http {mode}"] = await use(client)
    print(json.dumps(seen))


asyncio.run(main())

"""Decodes OTLP requests, one per file; prints their spans as one JSON array."""

import json
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

spans = []
for path in sys.argv[1:]:
    request = ExportTraceServiceRequest()
    with open(path, "rb") as file:
        request.ParseFromString(file.read())
    for resource in request.resource_spans:
        resource_attributes = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                value = lambda it: getattr(it, it.WhichOneof("value"))
                spans.append({
                    "service": resource_attributes.get("service.name"),
                    "name": span.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "attributes": {pair.key: value(pair.value) for pair in span.attributes},
                })
print(json.dumps(spans))

// Serves what the pages of tests need.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { linkEndpoint } from "../../../clients/js/examples/link-endpoint.js";

const client = join(import.meta.dirname, "../../../clients/js");
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json" };

/**
 * Serves an example's pages, further pages by their path with a strict policy, the package under /client, this configuration, and an
 * application's endpoint for links; returns the origin.
 */
export async function serve(port, config, { example = "react", pages = {} } = {}) {
  const answerLinks = linkEndpoint(config);
  const policy = `default-src 'self'; connect-src 'self' ${config.baseUrl}; require-trusted-types-for 'script'`;
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://x").pathname;
    if (path === "/links") return answerLinks(request, response);
    const file = path.startsWith("/client/")
      ? join(client, "dist", path.slice("/client/".length))
      : join(client, `examples/${example}/dist`, path === "/" ? "index.html" : path);
    try {
      const content = pages[path] ?? (path === "/config.json" ? JSON.stringify(config) : await readFile(file));
      const type = pages[path] ? "text/html" : types[extname(file)];
      const headers = { "content-type": type ?? "text/plain", ...(pages[path] && { "content-security-policy": policy }) };
      response.writeHead(200, headers).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return `http://127.0.0.1:${port}`;
}

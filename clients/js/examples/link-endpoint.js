// An application's own endpoint for links. The page says which file it wants; the credential stays in the back end.

/** Fields that a page may choose. The others, such as `user`, are for the application to set. */
const FIELDS = [
  "export", "format", "filters", "columns", "filename", "language", "csv", "xlsx", "length", "end_line", "estimate", "prepare",
];
/** The longest body, in characters. */
const LENGTH_MAX = 65_536;

/** Returns a handler of Node's HTTP server. A real application also requires the session of its user, whose token it uses. */
export function linkEndpoint({ baseUrl, token }) {
  return async (request, response) => {
    const send = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(body);
    // A page of another site cannot send JSON without the permission of CORS.
    if (request.method !== "POST" || request.headers["content-type"] !== "application/json") {
      return send(400, JSON.stringify({ code: "malformed-request", detail: "expected a POST request with JSON" }));
    }
    try {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) {
        body += chunk;
        if (body.length > LENGTH_MAX) return send(413, JSON.stringify({ code: "body-too-long", detail: "the body is too long" }));
      }
      const wanted = Object.entries(JSON.parse(body)).filter(([name]) => FIELDS.includes(name));
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
      const answer = await fetch(`${baseUrl}/v1/links`, { method: "POST", headers, body: JSON.stringify(Object.fromEntries(wanted)) });
      send(answer.status, await answer.text());
    } catch (error) {
      send(502, JSON.stringify({ code: "unreachable", detail: error.message }));
    }
  };
}

/** Returns a plugin that adds the endpoint `/links` to Vite's development server. */
export function links() {
  const { ROWLINK_URL: baseUrl = "http://127.0.0.1:8080", ROWLINK_TOKEN: token = "" } = process.env;
  return {
    name: "links",
    configureServer: (server) => void server.middlewares.use("/links", linkEndpoint({ baseUrl, token })),
  };
}

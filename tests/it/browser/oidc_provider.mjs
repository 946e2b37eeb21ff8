// Runs an OpenID Connect provider in which every login is right. Arguments: its port, the only redirect URI, and the folder of
// its package. Prints a line when it listens. Its access tokens are JSON Web Tokens.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [port, redirectUri, modules] = process.argv.slice(2);
const entry = createRequire(`${modules}/`).resolve("oidc-provider");
const { default: Provider } = await import(pathToFileURL(entry));

const server = {
  scope: "",
  audience: "rowlink",
  accessTokenFormat: "jwt",
  jwt: { sign: { alg: "RS256" } },
};
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: "page",
    redirect_uris: [redirectUri],
    response_types: ["code"],
    grant_types: ["authorization_code"],
    token_endpoint_auth_method: "none",
  }],
  clientBasedCORS: () => true,
  pkce: { required: () => true },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  features: {
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:rowlink",
      getResourceServerInfo: () => server,
      useGrantedResource: () => true,
    },
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));

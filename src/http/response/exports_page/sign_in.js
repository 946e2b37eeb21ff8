
// --- Signing in with a token ---

/** Another Rowlink of this origin, below another path, has its own token. */
const TOKEN_KEY = `rowlink token of ${new URL(root || ".", location.href).pathname}`;

/** Requests this page with a token, which no navigation sends, and replaces the content. */
async function load(candidate) {
  const headers = { Authorization: `Bearer ${candidate}`, Accept: "text/html" };
  const response = await fetch(location.href, { headers, cache: "no-store" });
  const html = await response.text();
  if (response.status === 401) return false;
  const page = new DOMParser().parseFromString(html, "text/html");
  document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
  document.title = page.title;
  token = candidate;
  enhance();
  return true;
}

/** Shows the page to a person whose token this tab has; otherwise the form for one. */
async function start() {
  const main = document.querySelector("main");
  if ("signedIn" in main.dataset) return enhance();
  if (element("account") && new URLSearchParams(location.hash.slice(1)).has("state")) return endAccountSignIn();
  const stored = sessionStorage.getItem(TOKEN_KEY);
  if (!stored) return showSignIn();
  main.setAttribute("aria-busy", "true");
  await signIn(stored);
}

function showSignIn(error) {
  document.querySelector("main").removeAttribute("aria-busy");
  const form = element("sign-in");
  if (!form) return;
  form.hidden = false;
  if (element("account")) {
    element("account").hidden = false;
    element("account-button").addEventListener("click", beginAccountSignIn);
  }
  say("token-error", error);
  if (error) element("token").focus();
}

/** Signs in, and keeps the token in this tab. */
async function signIn(candidate) {
  let error = texts.token_refused;
  try {
    // No other characters can be in the header.
    if (/^[\x21-\x7e]+$/.test(candidate) && await load(candidate)) {
      sessionStorage.setItem(TOKEN_KEY, candidate);
      return true;
    }
    sessionStorage.removeItem(TOKEN_KEY);
  } catch {
    error = texts.no_response;
  }
  showSignIn(error);
  return false;
}

function signOut() {
  sessionStorage.removeItem(TOKEN_KEY);
  location.reload();
}

document.addEventListener("submit", async (event) => {
  if (event.target !== element("sign-in")) return;
  event.preventDefault();
  say("token-error");
  if (!await signIn(element("token").value.trim())) return;
  const heading = document.querySelector("h1");
  heading.tabIndex = -1;
  heading.focus();
});

// A browser may show a page that it has kept, also after the person has signed out.
addEventListener("pageshow", (event) => {
  if (event.persisted && token && token !== sessionStorage.getItem(TOKEN_KEY)) location.reload();
});

// --- Signing in with an account: OpenID Connect, an authorization code with PKCE (RFC 7636), and no secret ---

const FLOW_KEY = `${TOKEN_KEY}, sign-in`;
const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
/** The only page to which the provider may lead back. */
const redirectUri = () => new URL(`${root}exports`, location.href).href;

/** Returns the metadata of the provider: OpenID Connect Discovery 1.0, section 4. */
async function metadataOf(issuer) {
  const response = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
  const metadata = await response.json();
  if (metadata.issuer !== issuer) throw new Error("another issuer");
  return metadata;
}

/** Leads to the provider. */
async function beginAccountSignIn() {
  say("account-error");
  const { issuer, client } = element("account").dataset;
  try {
    const { authorization_endpoint: endpoint } = await metadataOf(issuer);
    const flow = { verifier: random(), state: random(), nonce: random(), page: location.pathname + location.search };
    const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(flow.verifier));
    const url = new URL(endpoint);
    const parameters = {
      response_type: "code",
      // No server gets the code in the path of a request.
      response_mode: "fragment",
      client_id: client,
      redirect_uri: redirectUri(),
      scope: "openid",
      state: flow.state,
      nonce: flow.nonce,
      code_challenge: base64url(new Uint8Array(hash)),
      code_challenge_method: "S256",
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    sessionStorage.setItem(FLOW_KEY, JSON.stringify(flow));
    location.assign(url);
  } catch {
    say("account-error", texts.sign_in_failed);
  }
}

/** Exchanges the code of the provider's answer for a token, and returns to the page that the person has opened. */
async function endAccountSignIn() {
  const answer = new URLSearchParams(location.hash.slice(1));
  const flow = JSON.parse(sessionStorage.getItem(FLOW_KEY) ?? "{}");
  sessionStorage.removeItem(FLOW_KEY);
  history.replaceState(null, "", location.pathname + location.search);
  try {
    sessionStorage.setItem(TOKEN_KEY, await tokenFor(answer, flow));
    location.replace(flow.page);
  } catch {
    showSignIn();
    say("account-error", texts.sign_in_failed);
  }
}

async function tokenFor(answer, flow) {
  const { issuer, client } = element("account").dataset;
  // RFC 9207: an answer of another provider.
  const isAnother = answer.has("iss") && answer.get("iss") !== issuer;
  if (!flow.state || answer.get("state") !== flow.state || isAnother) throw new Error("not the answer to this request");
  if (!answer.has("code")) throw new Error(answer.get("error"));
  const { token_endpoint: endpoint } = await metadataOf(issuer);
  const body = new URLSearchParams({
    grant_type: "authorization_code",
    code: answer.get("code"),
    redirect_uri: redirectUri(),
    client_id: client,
    code_verifier: flow.verifier,
  });
  const response = await fetch(endpoint, { method: "POST", body, credentials: "omit" });
  const { access_token: token, id_token: idToken } = await response.json();
  // Its signature need not be checked, because it comes from the provider over TLS: OpenID Connect Core 1.0, section 3.1.3.7.
  const claims = JSON.parse(atob(idToken.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  const isForClient = [claims.aud].flat().includes(client);
  if (claims.iss !== issuer || !isForClient || claims.nonce !== flow.nonce) throw new Error("another ID token");
  if (!token) throw new Error("no token");
  return token;
}

await start();

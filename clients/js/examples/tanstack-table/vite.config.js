import { defineConfig } from "vite";
import { links } from "../link-endpoint.js";

// Vite's built-in JSX transform needs no plugin.
export default defineConfig({
  oxc: { jsx: { runtime: "automatic" } },
  plugins: [links()],
});

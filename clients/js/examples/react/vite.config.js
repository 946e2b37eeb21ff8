import { defineConfig } from "vite";

// Vite's built-in JSX transform needs no plugin.
export default defineConfig({
  oxc: { jsx: { runtime: "automatic" } },
});

import { defineConfig } from "vite";

// No plugin: JSX is all that is needed.
export default defineConfig({
  oxc: { jsx: { runtime: "automatic" } },
});

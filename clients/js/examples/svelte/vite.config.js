import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";
import { links } from "../link-endpoint.js";

export default defineConfig({ plugins: [svelte(), links()] });

import { defineConfig } from "vite";
import { links } from "../link-endpoint.js";

export default defineConfig({ plugins: [links()] });

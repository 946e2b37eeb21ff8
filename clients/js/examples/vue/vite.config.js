import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";
import { links } from "../link-endpoint.js";

const isCustomElement = (tag) => tag === "rowlink-export";
export default defineConfig({ plugins: [vue({ template: { compilerOptions: { isCustomElement } } }), links()] });

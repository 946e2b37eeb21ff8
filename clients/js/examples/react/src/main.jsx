import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { createRowlink } from "@rowlink/client";
import { App } from "./App.jsx";
import "./style.css";

// A real application asks its own back end for the token of whoever is signed in.
const { baseUrl, token } = await (await fetch("/config.json")).json();
const rowlink = createRowlink({ baseUrl, token });

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <App rowlink={rowlink} />
  </StrictMode>,
);

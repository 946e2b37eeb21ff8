import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { createRowlink } from "@rowlink/client";
import { App } from "./App.jsx";
import "./style.css";

// A real application gets the signed-in user's token from its own back end.
const { baseUrl, token } = await (await fetch("/config.json")).json();
const rowlink = createRowlink({ baseUrl, token });

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <App rowlink={rowlink} />
  </StrictMode>,
);

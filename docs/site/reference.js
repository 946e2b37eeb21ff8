// Shows the contract with Swagger UI, in light or dark like the page around it.
const root = document.documentElement;
const isDark = () => ["ayu", "coal", "navy"].some((theme) => root.classList.contains(theme));
const followTheme = () => root.classList.toggle("dark-mode", isDark());
new MutationObserver(followTheme).observe(root, { attributeFilter: ["class"] });
followTheme();

const ui = SwaggerUIBundle({
  domNode: document.getElementById("reference"),
  deepLinking: true,
  // Its colours of code would mix with those of mdBook.
  syntaxHighlight: { activated: false },
  // The page is documentation: it sends nothing, neither to a server nor to the vendor's validator.
  supportedSubmitMethods: [],
  validatorUrl: null,
});
// References are resolved against this URL. Swagger UI resolves none against that of a page opened from disk.
ui.specActions.updateUrl("http://localhost/openapi.yaml");
ui.specActions.updateLoadingStatus("success");
ui.specActions.updateSpec(openapi);

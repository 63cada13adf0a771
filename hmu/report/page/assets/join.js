// Modules inside a page have no addresses to import each other by: give each a blob's, in the order of need.
(function () {
  "use strict";
  const addresses = new Map();
  const specifier = /(\b(?:from|import)\s*)(["'])([^"']+)\2/g;
  for (const element of document.querySelectorAll("script[data-module]")) {
    const text = element.textContent.replace(specifier, (whole, keyword, quote, name) =>
      addresses.has(name) ? `${keyword}"${addresses.get(name)}"` : whole);
    const blob = new Blob([text], { type: "text/javascript" });
    addresses.set(element.dataset.module, URL.createObjectURL(blob));
  }
  const viewer = document.getElementById("viewer");
  import(addresses.get("./viewer.js"))
    .then((module) => module.start(viewer))
    .catch((error) => {
      const message = viewer.querySelector(".failed");
      message.textContent = `The motions cannot be shown here (${error.message}). Everything else on this page is complete.`;
      message.hidden = false;
      viewer.dataset.state = "failed";
    });
})();

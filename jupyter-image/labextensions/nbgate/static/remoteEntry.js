// What JupyterLab and Notebook 7 load: a module container as their loader expects it, written by
// hand, so that the image needs no build. The page waits for this file alone; what does the work is
// loaded once the page is there.
"use strict";
(() => {
  const here = new URL(document.currentScript.src);
  const beside = (name) => import(new URL(`${name}.js${here.search}`, here).href);
  let shared = {};

  // The token of the document manager is the one that Lab's own copy of the package made.
  async function documentManager() {
    try {
      const [newest] = Object.values(shared["@jupyterlab/docmanager"]).slice(-1);
      return (await newest.get())().IDocumentManager;
    } catch {
      return null; // another Lab; only intervals of autosave are not set back then
    }
  }

  function slugOfPage() {
    const config = document.getElementById("jupyter-config-data");
    return config === null ? "" : (JSON.parse(config.textContent).nbgateSlug ?? "");
  }

  async function begin(app, documents) {
    const slug = slugOfPage();
    if (slug === "") return; // not started by nbgate
    await app.restored;
    const parts = ["words", "banner", "lab", "page"].map(beside);
    const [{ wordsFor, timeIn }, { Banner }, { Lab }, { Page }] = await Promise.all(parts);
    const words = wordsFor(navigator.languages);
    new Page(slug, words, timeIn, new Banner(words.region), new Lab(app, documents));
  }

  async function extension() {
    const token = await documentManager();
    const plugin = {
      id: "nbgate:open-page",
      description: "Tells that the server stops or was stopped, and brings it back.",
      autoStart: true,
      optional: token === null ? [] : [token],
      activate: (app, documents = null) => void begin(app, documents).catch(console.error),
    };
    return () => ({ __esModule: true, default: plugin });
  }

  window._JUPYTERLAB = window._JUPYTERLAB ?? {};
  window._JUPYTERLAB.nbgate = {
    init: (scope) => void (shared = scope),
    get: () => extension(),
  };
})();

// What is done to the open page of JupyterLab or Notebook 7: its requests wait while the server is
// away, and what was open is connected to the new one.

const AREAS = ["main", "right", "left", "down"];
const SAVING_SECONDS = 60;
// A request may be sent again only if nobody got it: that is what this answer of the gateway says.
const STOPPED = 424;

export class Lab {
  constructor(app, documents) {
    this.app = app;
    this.documents = documents;
    this.whenStopped = () => {};
    this.gate = null; // while requests wait: {opened: Promise, open: () => void}
    this.kernels = new Map(); // session context → name of the kernel that it had
    this.saving = new Map(); // document context → whether a save is under way
    this.wanted = new Set(); // documents whose save was asked for while the server was away
    this.waitAtGate(app.serviceManager.serverSettings);
    app.shell.currentChanged?.connect(() => this.followAll());
    this.note();
  }

  /** Let requests wait from now on. */
  hold() {
    if (this.gate !== null) return;
    this.gate = {};
    this.gate.opened = new Promise((open) => (this.gate.open = open));
    this.remember();
    for (const context of this.contexts()) this.putOff(context);
  }

  /** Let them go on. */
  open() {
    for (const context of this.saving.keys()) delete context.save;
    this.gate?.open();
    this.gate = null;
  }

  /** Remember which kernels run now, for the case that they do not later. */
  note() {
    this.kernels.clear();
    this.remember();
    this.followAll();
  }

  /** Save what is unsaved, and give everything that had a kernel one. Return whether any is new. */
  async heal() {
    await this.save();
    const { sessions, kernels } = this.app.serviceManager;
    await sessions.refreshRunning();
    await kernels.refreshRunning();
    let renewed = false;
    for (const [context, name] of this.kernels) {
      if (!context.isDisposed) renewed = (await this.revive(context, name)) || renewed;
    }
    this.setIntervals();
    return renewed;
  }

  async revive(context, name) {
    const kernel = context.session?.kernel;
    if (kernel && !kernel.isDisposed && kernel.status !== "dead") {
      if (kernel.connectionStatus !== "connected") await kernel.reconnect();
      return false;
    }
    // Another page may have been here first.
    const { sessions } = this.app.serviceManager;
    const other = [...sessions.running()].find((one) => one.path === context.path);
    await context.changeKernel(other?.kernel ? { id: other.kernel.id } : { name });
    return true;
  }

  async save() {
    const autosaves = this.documents?.autosave !== false;
    for (const context of this.contexts()) {
      await this.quiet(context);
      if (context.model?.dirty && (autosaves || this.wanted.has(context))) await context.save();
    }
    this.wanted.clear();
  }

  // A save of which the page learnt that the server was gone is still under way: two at once would
  // look to Lab like a change by somebody else.
  async quiet(context) {
    const end = Date.now() + 1000 * SAVING_SECONDS;
    while (this.saving.get(context) && Date.now() < end) await new Promise((go) => setTimeout(go, 50));
  }

  // Lab makes the interval ten times as long as the last save took, and that one has waited.
  setIntervals() {
    if (this.documents === null) return;
    const interval = this.documents.autosaveInterval;
    this.documents.autosaveInterval = interval + 1;
    this.documents.autosaveInterval = interval;
  }

  followAll() {
    for (const context of this.opened()) {
      const opened = () => context.isDisposed || this.follow(context);
      context.ready?.then(opened, () => {}); // Lab has said why it could not be opened
    }
  }

  // When a save is done, Lab takes the document for saved, with what was edited meanwhile; then
  // nothing would save that until the next edit.
  follow(context) {
    if (this.saving.has(context) || !context.saveState) return;
    this.saving.set(context, false);
    let edited = false;
    context.model.contentChanged.connect(() => (edited = true));
    context.saveState.connect((_, state) => {
      this.saving.set(context, state === "started");
      if (state === "started") edited = false;
      if (state === "completed" && edited) context.model.dirty = true;
    });
    context.disposed.connect(() => this.saving.delete(context));
  }

  // Lab takes this for a dialog that the person closed: nothing is said, and nothing tried again.
  putOff(context) {
    this.follow(context);
    context.save = () => {
      this.wanted.add(context);
      const later = new Error("The notebook is stopped; this is saved when it is back");
      later.name = "ModalCancelError";
      return Promise.reject(later);
    };
  }

  remember() {
    for (const widget of this.widgets()) {
      const context = widget.sessionContext ?? widget.context?.sessionContext;
      const kernel = context?.session?.kernel;
      if (kernel && kernel.status !== "dead") this.kernels.set(context, kernel.name);
    }
  }

  contexts() {
    const ready = (context) => context.isReady && !context.isDisposed;
    return new Set([...this.opened()].filter(ready));
  }

  opened() {
    return new Set(this.widgets().flatMap(({ context }) => (context?.model ? [context] : [])));
  }

  widgets() {
    const { shell } = this.app;
    return AREAS.flatMap((area) => {
      try {
        return [...shell.widgets(area)];
      } catch {
        return []; // Notebook 7 has fewer
      }
    });
  }

  waitAtGate(settings) {
    const send = settings.fetch;
    settings.fetch = async (request) => {
      for (;;) {
        if (this.gate !== null) await this.gate.opened;
        const spare = request.clone();
        const answer = await send.call(null, request);
        if (answer.status !== STOPPED || !this.whenStopped()) return answer;
        request = spare;
      }
    };
  }
}

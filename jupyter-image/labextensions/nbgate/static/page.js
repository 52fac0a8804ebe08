// Asks the gateway how the notebook is, rarely, with jitter, and only while somebody can see the
// page; says what there is to say; starts the server again when asked to. Asking wakes nothing and is
// no activity.

// Seconds until the next question.
const QUIET = 20;
const SOON = 8;
const STARTING = 0.7;
const UNKNOWN = 60;
const FAREWELL = 12;
// A stopped notebook's requests are not sent again more often than this, whatever is answered.
const SHORTEST_STOP = 1;

export class Page {
  /**
   * @param {string} slug of the notebook.
   * @param {object} words what is said, see words.js.
   * @param {(words: object, seconds: number) => string} timeIn says a duration.
   * @param {Banner} banner where it is said.
   * @param {Lab} lab what is open.
   */
  constructor(slug, words, timeIn, banner, lab) {
    Object.assign(this, { slug, words, timeIn, banner, lab });
    this.away = false; // whether the server is known not to be there
    this.known = true; // whether the gateway knows us
    this.server = null; // which one the page is connected to
    this.stop = null; // the warning that is shown
    this.inevitable = false; // whether somebody's being there does not change it
    this.healing = null;
    this.lab.whenStopped = () => this.stopped();
    document.addEventListener("visibilitychange", () => document.hidden || this.ask());
    for (const kind of ["keydown", "pointerdown"]) {
      document.addEventListener(kind, (event) => this.touched(event), { capture: true, passive: true });
    }
    this.ask();
  }

  /** Ask now; two questions at once are one after the other. */
  async ask() {
    clearTimeout(this.timer);
    if (this.asking) return void (this.again = true);
    this.asking = true;
    let pause = SOON;
    try {
      pause = await this.answered(await fetch(this.url("page"), { cache: "no-store" }));
    } catch {
      if (this.away) this.banner.show(this.words.silent);
    } finally {
      this.asking = false;
    }
    if (this.again) pause = 0;
    this.again = false;
    // A hidden page asks again when it is seen, unless it is being brought back.
    if (document.hidden && pause >= SOON) return;
    this.timer = setTimeout(() => this.ask(), 1000 * pause * (0.75 + Math.random() / 2));
  }

  async answered(answer) {
    this.known = answer.status !== 404 && answer.status !== 401;
    if (!this.known) return this.forget();
    if (!answer.ok) return SOON;
    const status = await answer.json();
    return status.phase === "ready" ? this.ready(status) : this.gone(status);
  }

  // Signed out, or no gateway in front: then the page is as it would be without this.
  forget() {
    this.away = false;
    this.lab.open();
    this.banner.hide();
    return UNKNOWN;
  }

  ready(status) {
    const other = this.server !== null && this.server !== status.server;
    if (this.away || other) {
      this.back(this.away && !other);
    } else if (this.healing === null) {
      this.lab.note();
      this.warn(status.stop);
    }
    this.server = status.server;
    return this.stop === null ? QUIET : SOON;
  }

  /** A request was told that the notebook is stopped; return whether it waits. */
  stopped() {
    if (!this.known) return false;
    if (!this.away) {
      this.leave();
      setTimeout(() => this.ask(), 1000 * SHORTEST_STOP);
      this.sayStopped(false);
    }
    return true;
  }

  leave() {
    this.away = true;
    this.stop = null;
    clearTimeout(this.farewell);
    this.lab.hold();
  }

  gone(status) {
    if (!this.away) this.leave();
    const { phase } = status;
    if (phase === "cold") {
      this.sayStopped(status.paused);
      return SOON;
    }
    if (phase === "failed") {
      this.sayFailed(`${status.step}. ${status.detail}`);
      return SOON;
    }
    this.banner.show(`${status.step} …`);
    return STARTING;
  }

  sayStopped(paused) {
    const { words } = this;
    const [text, label] = paused ? [words.paused, words.resume] : [words.stopped, words.start];
    this.banner.show(text, { urgent: true, label, action: () => this.start() });
  }

  sayFailed(text) {
    this.banner.show(text, { urgent: true, label: this.words.again, action: () => this.start() });
  }

  async start() {
    this.banner.show(this.words.starting);
    try {
      const answer = await fetch(this.url("start"), { method: "POST" });
      if (!answer.ok) throw new Error((await answer.json()).detail);
    } catch (error) {
      const text = error instanceof TypeError ? this.words.silent : error.message || this.words.refused;
      this.sayFailed(text);
      return;
    }
    this.ask();
  }

  /** The server is there again: connect what is open, then say so. */
  async back(same) {
    this.away = false;
    this.lab.open();
    if (this.healing !== null) return; // goes on where it waited
    this.banner.show(this.words.connecting);
    this.healing = this.lab.heal();
    let text = same ? this.words.back : this.words.renewed;
    try {
      if (await this.healing) text = this.words.renewed;
    } catch (error) {
      console.error(error); // Lab has said what it was
    } finally {
      this.healing = null;
    }
    if (this.away) return;
    this.lab.note();
    this.banner.show(text, { label: this.words.close, action: () => this.banner.hide() });
    this.farewell = setTimeout(() => this.banner.hide(), 1000 * FAREWELL);
  }

  warn(stop) {
    if (stop === null) {
      if (this.stop !== null) this.banner.hide();
      this.stop = null;
      this.inevitable = false;
      return;
    }
    clearTimeout(this.farewell);
    this.stop = stop;
    const button = this.inevitable ? {} : { label: this.words.keep, action: () => this.keep() };
    const text = this.words.stops(this.timeIn(this.words, stop.seconds), stop.reason);
    this.banner.show(text, { urgent: true, ...button });
  }

  async keep() {
    try {
      const answer = await fetch(this.url("keep"), { method: "POST" });
      if (!answer.ok) return;
      const { stop } = await answer.json();
      this.inevitable = stop !== null;
      this.warn(stop);
    } catch {
      this.ask();
    }
  }

  // Who types or clicks is there.
  touched(event) {
    if (!event.isTrusted || this.stop === null || this.inevitable) return;
    if (this.banner.holds(event.target)) return;
    this.inevitable = true; // asked once
    this.keep();
  }

  url(what) {
    return `/gateway/${what}/${encodeURIComponent(this.slug)}`;
  }
}

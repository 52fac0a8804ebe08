// What a person sees and hears: one line at the foot of the page, with at most one button. It never covers
// the whole page and never takes the focus: what is open can be read and edited meanwhile.

const STYLE = `
#nbgate-banner { position: fixed; z-index: 20000; bottom: 36px; left: 0; right: 0; margin: 0 auto;
  box-sizing: border-box; width: fit-content; max-width: min(760px, calc(100vw - 16px)); display: flex;
  align-items: center; gap: 16px; padding: 10px 16px; border-radius: 6px; font-size: 14px;
  line-height: 1.4; font-family: var(--jp-ui-font-family, system-ui, sans-serif);
  color: var(--jp-ui-font-color1, #222); background: var(--jp-layout-color1, #fff);
  border: 1px solid var(--jp-border-color1, #999); border-left: 4px solid var(--jp-brand-color1, #1976d2);
  box-shadow: 0 2px 10px rgb(0 0 0 / 35%); }
#nbgate-banner[hidden] { display: none; }
#nbgate-banner.nbgate-urgent { border-left-color: var(--jp-warn-color1, #e65100); }
#nbgate-banner p { margin: 0; overflow-wrap: anywhere; }
#nbgate-banner button { font: inherit; white-space: nowrap; padding: 5px 13px; cursor: pointer;
  border: 1px solid var(--jp-brand-color1, #1976d2); border-radius: 4px;
  color: var(--jp-ui-inverse-font-color1, #fff); background: var(--jp-brand-color1, #1976d2); }
#nbgate-banner button:focus-visible { outline: 3px solid var(--jp-brand-color3, #90caf9); }
#nbgate-banner button[hidden] { display: none; }
`;

export class Banner {
  /** @param {string} name what screen readers call the place. */
  constructor(name) {
    const style = document.createElement("style");
    style.textContent = STYLE;
    document.head.append(style);
    this.box = document.createElement("section");
    this.box.id = "nbgate-banner";
    this.box.hidden = true;
    this.box.setAttribute("aria-label", name);
    this.text = document.createElement("p");
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.addEventListener("click", () => this.action?.());
    this.box.append(this.text, this.button);
    document.body.append(this.box);
  }

  /**
   * Show one line.
   * @param {string} text for people.
   * @param {{urgent?: boolean, label?: string, action?: () => void}} options urgent: screen readers
   *   say it at once; label and action: of the button.
   */
  show(text, { urgent = false, label = "", action = null } = {}) {
    this.box.classList.toggle("nbgate-urgent", urgent);
    this.text.setAttribute("role", urgent ? "alert" : "status");
    this.box.hidden = false;
    if (this.text.textContent !== text) this.text.textContent = text;
    if (this.button.textContent !== label) this.button.textContent = label;
    this.button.hidden = action === null;
    this.action = action;
  }

  hide() {
    this.box.hidden = true;
    this.text.textContent = "";
    this.action = null;
  }

  /** Whether an event's target lies in it. */
  holds(target) {
    return target instanceof Node && this.box.contains(target);
  }
}

"use strict";
// Sorts, filters and extends the tables of a page. A long table has its first rows in the page, and all rows as JSON.

const collator = new Intl.Collator(undefined, { numeric: true });
const STEP = 200; // rows that the button "Show more" adds
const LONG_TEXT = 40; // characters; as in page.py

/** Returns the number that a text begins with, such as -1.5 for "-1.5 %" and 1200 for "1,200 rows", or NaN. */
function leadingNumber(text) {
  const first = text.trim().split(/\s/, 1)[0].replace(/%$/, "").replace(/^[−–](?=\d)/, "-");
  if (first === "") return NaN;
  return Number(/^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$/.test(first) ? first.replaceAll(",", "") : first);
}

const isMissing = text => ["", "-", "–"].includes(text.trim());

/** Returns the order of two cells. Numbers come first, then texts, then empty cells, in both directions. */
function compare(a, b, sign) {
  if (a.kind !== b.kind) return a.kind - b.kind;
  if (a.kind === 0) return sign * (a.number - b.number);
  return a.kind === 1 ? sign * collator.compare(a.text, b.text) : 0;
}

function sortKey(text) {
  if (isMissing(text)) return { kind: 2 };
  const number = leadingNumber(text);
  return isNaN(number) ? { kind: 1, text } : { kind: 0, number };
}

function element(name, properties, ...children) {
  const created = Object.assign(document.createElement(name), properties);
  created.append(...children);
  return created;
}

class Table {
  constructor(figure) {
    this.table = figure.querySelector("table");
    this.body = this.table.tBodies[0];
    this.box = figure.querySelector(".wide");
    this.headers = [...this.table.tHead.rows[0].cells];
    this.numeric = this.headers.map(header => header.classList.contains("number"));
    this.elements = [...this.body.rows]; // by row; a row without an element is not drawn yet
    this.read(figure.querySelector("script"));
    this.order = this.cells.map((_, row) => row); // all rows, sorted
    this.visible = this.order; // the sorted rows that the filter accepts
    this.limit = Number(this.box.dataset.shown);
    this.shown = this.limit;
    if ("sortable" in this.table.dataset) this.headers.forEach((header, column) => this.addSorting(header, column));
    if ("filter" in this.table.dataset) this.addFilter();
    if (this.cells.length > this.limit) this.addButton();
    this.draw();
  }

  /** Reads the cells of all rows. A cell is a text, or a pair of a text and the address of a link. */
  read(script) {
    if (script) {
      const content = JSON.parse(script.textContent);
      this.cells = content.rows;
      this.marked = new Set(content.marked);
      script.remove();
    } else {
      this.cells = this.elements.map(row => [...row.cells].map(cell => cell.textContent));
    }
  }

  text(row, column) {
    const cell = this.cells[row][column];
    return typeof cell === "string" ? cell : cell[0];
  }

  addSorting(header, column) {
    const button = element("button", { type: "button" }, ...header.childNodes);
    header.append(button);
    header.addEventListener("click", () => this.sort(column));
  }

  addFilter() {
    const input = element("input", { type: "search", autocomplete: "off", spellcheck: false });
    this.count = element("output");
    const label = element("label", {}, "Filter ", input);
    this.box.before(element("div", { className: "tools" }, label, this.count));
    input.addEventListener("input", () => this.filter(input.value));
  }

  addButton() {
    this.more = element("button", { type: "button" });
    this.more.addEventListener("click", () => this.extend());
    this.box.after(element("div", { className: "tools" }, this.more));
  }

  sort(column) {
    const header = this.headers[column];
    const descending = header.getAttribute("aria-sort") === "ascending";
    const keys = this.cells.map((_, row) => sortKey(this.text(row, column)));
    this.order = [...this.order].sort((a, b) => compare(keys[a], keys[b], descending ? -1 : 1));
    this.headers.forEach(other => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    this.select();
  }

  filter(text) {
    this.words = text.normalize("NFC").toLowerCase().split(/\s+/).filter(Boolean);
    this.select();
  }

  /** Shows the first rows that contain all words of the filter. */
  select() {
    const words = this.words ?? [];
    if (words.length) {
      this.texts ??= this.cells.map(cells => cells.map(cell => typeof cell === "string" ? cell : cell[0])
        .join("\n").normalize("NFC").toLowerCase());
      this.visible = this.order.filter(row => words.every(word => this.texts[row].includes(word)));
    } else {
      this.visible = this.order;
    }
    this.shown = this.limit;
    this.draw();
  }

  extend() {
    const first = this.element(this.visible[this.shown]);
    this.shown += STEP;
    this.draw();
    first.scrollIntoView({ block: "center" });
  }

  draw() {
    const count = Math.min(this.shown, this.visible.length);
    this.body.replaceChildren(...this.visible.slice(0, count).map(row => this.element(row)));
    this.box.classList.toggle("tall", count > this.limit);
    const number = value => value.toLocaleString("en");
    if (this.count) {
      const matching = this.visible.length < this.cells.length ? `${number(this.visible.length)} of ` : "";
      const part = count < this.visible.length ? `, the first ${number(count)} shown` : "";
      this.count.value = `${matching}${number(this.cells.length)} rows${part}`;
    }
    if (this.more) {
      const left = this.visible.length - count;
      this.more.hidden = left === 0;
      this.more.textContent = `Show ${number(Math.min(STEP, left))} more of ${number(left)}`;
    }
  }

  element(row) {
    this.elements[row] ??= element("tr", { className: this.marked.has(row) ? "marked" : "" },
      ...this.cells[row].map((cell, column) => this.cell(cell, column)));
    return this.elements[row];
  }

  cell(cell, column) {
    if (typeof cell !== "string") return element("td", {}, element("a", { href: cell[1] }, cell[0]));
    if (cell.length > LONG_TEXT) return element("td", { className: "long" }, element("div", {}, cell));
    return element("td", { className: this.numeric[column] ? "number" : "" }, cell);
  }
}

document.querySelectorAll("figure.table").forEach(figure => new Table(figure));

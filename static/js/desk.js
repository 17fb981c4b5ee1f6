/* Number Desk works without this file. It adds a message when an htmx request fails, boxes that tick all others, sums on
   buttons and figures that follow the ticks, and a guard against double clicks. All listeners are on the document, so
   fragments that htmx swaps in need no set-up. */
"use strict";

(() => {
  const SECOND_CLICK_MS = 10000;

  /* ---- Failed requests are reported in #messages ---- */

  const problem = { node: null, kind: "" };

  function clearProblem(kind) {
    if (problem.node && (!kind || problem.kind === kind)) {
      problem.node.remove();
      problem.node = null;
    }
  }

  function showProblem(text, kind) {
    const region = document.getElementById("messages");
    const shown = problem.node && problem.node.isConnected;
    if (!region || (shown && (problem.node.textContent === text || (problem.kind === "action" && kind === "poll")))) return;
    clearProblem();
    const words = document.createElement("span");
    words.textContent = text;
    problem.node = document.createElement("p");
    problem.node.className = "notice bad";
    problem.node.append(words);
    problem.kind = kind;
    region.append(problem.node);
    if (kind === "action") problem.node.scrollIntoView({ block: "nearest" });
  }

  /* An error response is a plain sentence, or a page that marks its sentence with data-sentence. */
  function sentenceOf(xhr) {
    const type = xhr.getResponseHeader("Content-Type") || "";
    const text = (xhr.responseText || "").trim();
    if (!type.includes("html")) return text.length <= 500 ? text : "";
    const marked = new DOMParser().parseFromString(text, "text/html").querySelector("[data-sentence]");
    return marked ? marked.textContent.trim().replace(/\s+/g, " ") : "";
  }

  function wordsFor(xhr, kind) {
    const status = xhr.status;
    if (status === 400 || status === 403 || status === 409 || status === 429) {
      const sentence = sentenceOf(xhr);
      if (sentence) return sentence;
    }
    if (status === 403) return "You do not have permission for this. Reload the page to see what you can do.";
    if (status === 404) return "This no longer exists, or you are not allowed to see it. Reload the page.";
    if (status === 429) return "Too many attempts. Wait a minute, then try again.";
    if (status < 500) return "This could not be done. Reload the page and try again.";
    return kind === "poll"
      ? "This page is not being updated because Number Desk has a problem. It will resume by itself."
      : "Number Desk has a problem. Reload the page to see whether this went through before you try again.";
  }

  const kindOf = (detail) => (detail.requestConfig && detail.requestConfig.verb !== "get" ? "action" : "poll");

  document.addEventListener("htmx:responseError", (event) => {
    const kind = kindOf(event.detail);
    showProblem(wordsFor(event.detail.xhr, kind), kind);
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, (event) => {
      const kind = kindOf(event.detail);
      showProblem(
        kind === "poll"
          ? "No connection to Number Desk. This page may be out of date; it will resume by itself."
          : "No connection to Number Desk. Reload the page to see whether this went through before you try again.",
        kind,
      );
    });
  }

  /* ---- One click, one request ---- */

  const sent = new WeakMap();

  function mark(form, busy) {
    if (busy) sent.set(form, Date.now());
    else sent.delete(form);
    for (const button of form.elements) {
      if (button.type !== "submit") continue;
      if (busy) button.setAttribute("aria-disabled", "true");
      else button.removeAttribute("aria-disabled");
    }
  }

  const formOf = (element) => (element instanceof Element ? element.closest("form") : null);

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (Date.now() - (sent.get(form) || 0) < SECOND_CLICK_MS) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }, true);
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    mark(form, true);
    window.setTimeout(() => mark(form, false), SECOND_CLICK_MS);
  });
  document.addEventListener("htmx:beforeSend", (event) => {
    const form = formOf(event.detail.elt);
    if (form && kindOf(event.detail) === "action") mark(form, true);
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const kind = kindOf(event.detail);
    const form = formOf(event.detail.elt);
    if (form && kind === "action") mark(form, false);
    if (event.detail.successful) {
      clearProblem(kind);
      if (kind === "action") clearProblem("poll");
    }
  });
  // Also fires after the back button, when the browser restores the page with its buttons still disabled.
  window.addEventListener("pageshow", () => {
    for (const form of document.forms) mark(form, false);
  });

  /* ---- Dropping a file anywhere on a form that has a file field ---- */

  const dropField = (event) => {
    const form = formOf(event.target);
    const files = event.dataTransfer && [...event.dataTransfer.types].includes("Files");
    return form && files ? form.querySelector("input[type=file].drop") : null;
  };
  document.addEventListener("dragover", (event) => {
    const field = dropField(event);
    if (!field) return;
    event.preventDefault();
    field.classList.add("over");
  });
  document.addEventListener("dragleave", () => {
    for (const field of document.querySelectorAll("input.drop.over")) field.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    const field = dropField(event);
    if (!field) return;
    event.preventDefault();
    field.classList.remove("over");
    field.files = event.dataTransfer.files;
  });

  /* ---- Tick all, and sums of the ticked rows ---- */

  const boxesOf = (all) => {
    const scope = all.closest("form") || document;
    return [...scope.querySelectorAll('input[type="checkbox"]')].filter((box) => box.name === all.dataset.selectAll && !box.disabled);
  };

  function showState(all) {
    const boxes = boxesOf(all);
    const ticked = boxes.filter((box) => box.checked).length;
    all.checked = boxes.length > 0 && ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  }

  /* Money is counted in whole ten-thousandths, because floats would show rounding errors. */
  const PLACES = 4;
  const DECIMAL = /^-?\d+(\.\d{1,4})?$/;

  function units(text) {
    const [whole, part = ""] = text.replace("-", "").split(".");
    const size = BigInt(whole + part.padEnd(PLACES, "0"));
    return text.startsWith("-") ? -size : size;
  }

  function plain(size) {
    const digits = (size < 0n ? -size : size).toString().padStart(PLACES + 1, "0");
    const part = digits.slice(-PLACES).replace(/0{1,2}$/, "");
    return `${size < 0n ? "-" : ""}${digits.slice(0, -PLACES)}.${part}`;
  }

  /* The ticked rows in the form of an element: how many, their known costs, and the budget left after them. */
  function tallyOf(element) {
    const form = element.form || element.closest("form");
    const boxes = form ? [...form.querySelectorAll('input[type="checkbox"]')].filter((box) => box.name === element.dataset.tallyOf && box.checked) : [];
    const sumOf = (name) => boxes.map((box) => box.dataset[name] || "").filter((text) => DECIMAL.test(text)).reduce((sum, text) => sum + units(text), 0n);
    const left = element.dataset.tallyLeft || (form && form.dataset.left) || "";
    const tally = { count: boxes.length, monthly: sumOf("monthly"), upfront: sumOf("upfront") };
    tally.known = boxes.every(({ dataset }) => DECIMAL.test(dataset.monthly || "") && (!("upfront" in dataset) || DECIMAL.test(dataset.upfront)));
    tally.blocked = boxes.some((box) => "blocked" in box.dataset);
    const needs = boxes.some((box) => box.dataset.needs) ? sumOf("needs") : tally.monthly + tally.upfront;
    tally.left = DECIMAL.test(left) ? units(left) - needs : null;
    return tally;
  }

  /* The text of an element that follows the ticks: data-tally, or its text for a special case. */
  function showTally(element) {
    const { tally, tallyOne, tallyNone, tallyUnknown, tallyBlocked, tallyOver } = element.dataset;
    const ticked = tallyOf(element);
    const over = ticked.left !== null && ticked.left < 0n;
    let words = tally;
    if (ticked.count === 0 && tallyNone !== undefined) words = tallyNone;
    else if (ticked.blocked && tallyBlocked) words = tallyBlocked;
    else if (over && tallyOver) words = tallyOver;
    else if (!ticked.known && tallyUnknown !== undefined) words = tallyUnknown;
    else if (ticked.count === 1 && tallyOne) words = tallyOne;
    element.textContent = words
      .replace("{numbers}", "{count} numbers")
      .replace("{count} numbers", ticked.count === 1 ? "1 number" : "{count} numbers")
      .replace("{count}", String(ticked.count))
      .replace("{monthly}", ticked.known ? plain(ticked.monthly) : "?")
      .replace("{upfront}", plain(ticked.upfront))
      .replace("{left}", plain(ticked.left || 0n))
      .replace("{over}", plain(-(ticked.left || 0n)));
    if (element instanceof HTMLButtonElement) {
      element.disabled = ticked.count === 0 || Boolean((ticked.blocked && tallyBlocked) || (over && tallyOver));
    }
  }

  function refresh(root) {
    for (const all of root.querySelectorAll("input[data-select-all]")) {
      const holder = all.closest("[hidden]");
      if (holder) holder.hidden = false;  // hidden until now: without JavaScript the box does nothing
      showState(all);
    }
    for (const button of root.querySelectorAll("[data-tally]")) showTally(button);
  }

  document.addEventListener("change", (event) => {
    const box = event.target;
    if (!(box instanceof HTMLInputElement) || box.type !== "checkbox") return;
    if (box.dataset.selectAll) for (const other of boxesOf(box)) other.checked = box.checked;
    const scope = box.closest("form") || document;
    for (const all of scope.querySelectorAll("input[data-select-all]")) showState(all);
    for (const button of scope.querySelectorAll("[data-tally]")) showTally(button);
  });
  document.addEventListener("htmx:load", (event) => refresh(event.detail.elt.parentElement || document));
  window.addEventListener("pageshow", () => refresh(document));
})();

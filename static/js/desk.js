/* Number Desk works without this file. It adds: a word when an htmx request fails, boxes that tick all others, a sum on
   a button that follows the ticks, and a guard against the second click. Everything listens on the document, so
   fragments that htmx swaps in need no set-up. */
"use strict";

(() => {
  const SECOND_CLICK_MS = 10000;

  /* ---- What failed is said in #messages ---- */

  const problem = { node: null, kind: "" };

  function clearProblem(kind) {
    if (problem.node && (!kind || problem.kind === kind)) {
      problem.node.remove();
      problem.node = null;
    }
  }

  function sayProblem(text, kind) {
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

  /* A refusal is a plain sentence, or a page that marks its sentence with data-sentence. */
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
    if (status === 403) return "You may not do this. Reload the page to see what you can do.";
    if (status === 404) return "This is no longer here, or it is not yours to see. Reload the page.";
    if (status === 429) return "That was too often in a short time. Wait a minute, then try again.";
    if (status < 500) return "This could not be done. Reload the page and try again.";
    return kind === "poll"
      ? "This page is not being updated just now, because Number Desk has a problem. It will go on by itself."
      : "Number Desk has a problem. Reload the page to see whether this went through before you try again.";
  }

  const kindOf = (detail) => (detail.requestConfig && detail.requestConfig.verb !== "get" ? "action" : "poll");

  document.addEventListener("htmx:responseError", (event) => {
    const kind = kindOf(event.detail);
    sayProblem(wordsFor(event.detail.xhr, kind), kind);
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, (event) => {
      const kind = kindOf(event.detail);
      sayProblem(
        kind === "poll"
          ? "No connection to Number Desk. What you see may be out of date; it will go on by itself."
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
  window.addEventListener("pageshow", () => {               // also the way back from the next page
    for (const form of document.forms) mark(form, false);
  });

  /* ---- A file that is dropped anywhere on a form with a field for files ---- */

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

  /* ---- Tick all, and the sum of what is ticked ---- */

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

  /* Decimal text is added digit by digit as whole numbers: no float ever stands on a button. */
  function sum(texts) {
    const places = Math.max(2, ...texts.map((text) => (text.split(".")[1] || "").length));
    const total = texts.reduce((soFar, text) => {
      const [whole, part = ""] = text.split(".");
      return soFar + BigInt(whole + part.padEnd(places, "0"));
    }, 0n);
    const digits = total.toString().padStart(places + 1, "0");
    return `${digits.slice(0, -places)}.${digits.slice(-places)}`;
  }

  const DECIMAL = /^\d+(\.\d+)?$/;

  function showTally(button) {
    const { tallyOf, tally, tallyOne, tallyNone, tallyUnknown } = button.dataset;
    const form = button.form || button.closest("form");
    const boxes = form ? [...form.querySelectorAll('input[type="checkbox"]')].filter((box) => box.name === tallyOf && box.checked) : [];
    const monthly = boxes.map((box) => box.dataset.monthly || "");
    const known = monthly.every((text) => DECIMAL.test(text));
    let words = tally;
    if (boxes.length === 0) words = tallyNone || tally;
    else if (!known && tallyUnknown) words = tallyUnknown;
    else if (boxes.length === 1) words = tallyOne || tally;
    button.textContent = words.replace("{count}", String(boxes.length)).replace("{monthly}", known ? sum(monthly) : "?");
    button.disabled = boxes.length === 0;
  }

  function refresh(root) {
    for (const all of root.querySelectorAll("input[data-select-all]")) {
      const holder = all.closest("[hidden]");
      if (holder) holder.hidden = false;                    // without JavaScript the box would do nothing
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

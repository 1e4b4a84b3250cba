// What is sent without leaving the page. A form with data-empties is emptied of what
// arrived, not of what was typed meanwhile. When nobody answers, the page stays as it is
// and says so above, and what was sent may be sent again: its key is the same until an
// answer says what came of it. What a renewal reports, the next good one takes back; what
// was reported of a form stays until a form arrives.
(() => {
  const old = "frontdesk does not answer at the moment. What you see may be old; it renews itself when there is an answer.";
  const unsure = "frontdesk did not answer. What you sent may not have arrived; your words are still here.";
  const place = () => document.getElementById("problem");
  const fromForm = (request) => request.method === "POST";
  const kept = (request) => !fromForm(request) && place().dataset.from === "POST" && place().hasChildNodes();
  const notice = (words) => {
    const said = document.createElement("p");
    said.className = "notice bad";
    said.textContent = words;
    return said;
  };
  const silence = ({ request, target }) => {
    if (target?.ariaBusy === "true") {
      target.ariaBusy = "false";
      target.replaceChildren(notice("No answer came. Load the page again to ask once more."));
    }
    if (kept(request)) return;
    const words = fromForm(request) ? unsure : old;
    place().dataset.from = request.method;
    if (place().textContent !== words) place().replaceChildren(notice(words));
  };
  const empty = ({ form, body }) => {
    for (const field of form.elements) {
      if (field.type !== "hidden" && field.value === body.get(field.name)) field.value = field.defaultValue;
    }
    const focus = document.activeElement; // its button had it, and was disabled meanwhile
    if (focus === document.body || form.contains(focus)) form.querySelector("textarea, input:not([type=hidden])")?.focus();
  };
  const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");

  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    const { request, response, target } = ctx;
    const of = response.headers;
    if (!of.has("Frontdesk-Page") && !of.has("Hx-Redirect")) { // a proxy's, or of who cannot make pages now
      event.preventDefault();
      return silence(ctx);
    }
    if (response.status < 500 && request.form?.elements.key) request.form.elements.key.value = newKey(); // else it may have done its work
    if (of.has("Hx-Retarget")) { // it brings its own words
      if (kept(request)) return event.preventDefault();
      place().dataset.from = request.method;
      return;
    }
    if (target?.ariaBusy === "true") target.ariaBusy = "false";
    if (!response.raw.ok) return; // the part itself says what is wrong
    if (fromForm(request) || request.method === place().dataset.from) place().replaceChildren();
    if (request.form?.matches("[data-empties]")) empty(request);
  });
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => ctx && silence(ctx));
  document.addEventListener("click", (event) => { // the second of a double click hits what has taken the first one's place
    if (event.detail > 1 && event.target.closest("form[hx-post] button")) event.preventDefault();
  }, true);
})();

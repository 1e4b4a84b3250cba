// What is sent without leaving the page: a form with data-empties is emptied of what
// arrived, not of what was typed meanwhile. When nobody answers, the page stays as it is
// and says so above. What a renewal reports, the next good one takes back; what was
// reported of a form stays until a form arrives.
(() => {
  const old = "frontdesk does not answer at the moment. What you see may be old; it renews itself when there is an answer.";
  const unsure = "frontdesk did not answer. What you sent may not have arrived; your words are still here.";
  const report = (request, words) => {
    const place = document.getElementById("problem");
    place.dataset.from = request.method;
    if (!words || place.textContent === words) return; // the answer brings its own words
    const notice = document.createElement("p");
    notice.className = "notice bad";
    notice.textContent = words;
    place.replaceChildren(notice);
  };
  const silence = (request) => report(request, request.method === "POST" ? unsure : old);
  const empty = ({ form, body }) => {
    for (const field of form.elements) {
      if (field.type !== "hidden" && field.value === body.get(field.name)) field.value = field.defaultValue;
    }
  };
  document.addEventListener("htmx:after:request", (event) => {
    const { request, response } = event.detail.ctx;
    const place = document.getElementById("problem");
    if (response.headers.has("Hx-Retarget")) return report(request);
    if (response.status >= 500) {
      event.preventDefault(); // it would take the part's place
      return silence(request);
    }
    if (!response.raw.ok) return; // the part itself says what is wrong
    if (request.method === "POST" || request.method === place.dataset.from) place.replaceChildren();
    if (request.form?.matches("[data-empties]")) empty(request);
  });
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => ctx && silence(ctx.request));
})();

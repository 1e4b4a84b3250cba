// A form with data-passkey has the browser sign these options with the owner's
// passkey, then posts what it returned as JSON.
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function sign(asked) {
  const options = { ...asked, challenge: bytes(asked.challenge) };
  options.allowCredentials = (asked.allowCredentials ?? []).map((c) => ({ ...c, id: bytes(c.id), transports: c.transports ?? undefined }));
  if (!options.timeout) delete options.timeout;
  if (!options.extensions) delete options.extensions;
  const found = await navigator.credentials.get({ publicKey: options });
  const { clientDataJSON, authenticatorData, signature, userHandle } = found.response;
  return {
    id: found.id, rawId: text(found.rawId), type: found.type,
    response: {
      clientDataJSON: text(clientDataJSON), authenticatorData: text(authenticatorData), signature: text(signature),
      userHandle: userHandle ? text(userHandle) : null,
    },
  };
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-passkey]");
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("button"), refused = form.querySelector("[role=alert]");
  button.disabled = true;
  refused.hidden = true;
  try {
    form.elements.credential.value = JSON.stringify(await sign(JSON.parse(form.dataset.passkey)));
    form.submit(); // asks no handler again
  } catch {
    refused.hidden = false;
    button.disabled = false;
  }
});

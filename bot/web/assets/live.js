// Elements with data-room renew themselves when something happens in their room. One
// stream follows all rooms of the page; while it is away, they renew themselves more slowly.
// What is over at once is shown where the page has a place for it, and renews nothing.
(() => {
  const forgotten = 25_000; // a sign of typing that no other follows
  let stream, followed = "", due;
  const elements = () => [...document.querySelectorAll("[data-room]")];
  const renew = () => {
    due = undefined;
    for (const element of elements()) htmx.trigger(element, "changed", {}, false);
  };
  const type = (conversation, from, on) => {
    const place = document.querySelector(`[data-typing="${conversation}"][data-from="${from}"]`);
    if (!place) return;
    clearTimeout(place.ends);
    place.hidden = !on;
    if (on) place.ends = setTimeout(() => { place.hidden = true; }, forgotten);
  };
  const progress = ({ execution_id, step, data }) => {
    const place = document.querySelector(`[data-progress="${execution_id}:${step.position}"]`);
    if (place) place.textContent = "characters" in data ? `${data.characters} characters so far` : `${data.bytes} bytes so far`;
  };
  const hear = ({ data }) => {
    const said = JSON.parse(data);
    if (said.type === "typing") return type(said.conversation_id, said.data.from, said.data.typing);
    if (said.type === "step.progress") return progress(said);
    if (said.type === "message.received") type(said.conversation_id, "customer", false); // WhatsApp does not say so
    due ??= setTimeout(renew, 300);
  };
  const follow = () => {
    const rooms = [...new Set(elements().map((element) => element.dataset.room))].sort();
    if (rooms.join() === followed) return;
    followed = rooms.join();
    stream?.close();
    if (!rooms.length) return;
    stream = new EventSource("/live/events?" + new URLSearchParams(rooms.map((room) => ["room", room])));
    stream.onmessage = hear;
  };
  document.addEventListener("htmx:after:swap", follow); // an execution ended, or another one is on the page
  follow();
})();

// Elements with data-room renew themselves when something happens in their room. One
// stream follows all rooms of the page; while it is away, they renew themselves more slowly.
(() => {
  let stream, followed = "", due;
  const elements = () => [...document.querySelectorAll("[data-room]")];
  const renew = () => {
    due = undefined;
    for (const element of elements()) htmx.trigger(element, "changed", {}, false);
  };
  const follow = () => {
    const rooms = [...new Set(elements().map((element) => element.dataset.room))].sort();
    if (rooms.join() === followed) return;
    followed = rooms.join();
    stream?.close();
    if (!rooms.length) return;
    stream = new EventSource("/live/events?" + new URLSearchParams(rooms.map((room) => ["room", room])));
    stream.onmessage = () => { due ??= setTimeout(renew, 300); };
  };
  document.addEventListener("htmx:after:swap", follow); // an execution ended, or another one is on the page
  follow();
})();

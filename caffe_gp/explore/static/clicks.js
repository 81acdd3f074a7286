// A press on a thumbnail, or on a picture; the server checks what arrives.
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-example]');
  const picture = event.target.closest('[data-pick]');
  if (button) trigger('click', { example: Number(button.dataset.example) });
  if (picture) {
    const place = picture.getBoundingClientRect();
    trigger('click', {
      x: Math.min(1, Math.max(0, (event.clientX - place.left) / place.width)),
      y: Math.min(1, Math.max(0, (event.clientY - place.top) / place.height)),
    });
  }
});

"use strict";
(() => {
  const form = document.querySelector("form.filter");
  if (!form) return;
  const articles = [...document.querySelectorAll("article[data-gold]")];
  const texts = articles.map((one) => one.textContent.toLowerCase());
  const count = document.getElementById("shown-count");
  const more = document.getElementById("more");
  const FIRST = 40; // entries shown until more are asked for
  let most = FIRST;
  const apply = () => {
    const wanted = form.elements.search.value.trim().toLowerCase();
    const gold = form.elements.gold ? form.elements.gold.value : "";
    const answer = form.elements.answer ? form.elements.answer.value : "";
    let shown = 0;
    articles.forEach((one, place) => {
      const fits = (!wanted || texts[place].includes(wanted)) &&
        (!gold || one.dataset.gold === gold) && (!answer || one.dataset.answer === answer);
      shown += fits ? 1 : 0;
      one.hidden = !fits || shown > most;
    });
    count.textContent = Math.min(shown, most) + " / " + shown;
    more.hidden = shown <= most;
  };
  form.hidden = false;
  form.addEventListener("input", () => {
    most = FIRST;
    apply();
  });
  more.addEventListener("click", () => {
    most = articles.length;
    apply();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();

"use strict";
(() => {
  const form = document.querySelector("form.filter");
  if (!form) return;
  const articles = [...document.querySelectorAll("article[data-gold]")];
  const texts = articles.map((one) => one.textContent.toLowerCase());
  const count = document.getElementById("shown-count");
  const apply = () => {
    const wanted = form.elements.search.value.trim().toLowerCase();
    const gold = form.elements.gold ? form.elements.gold.value : "";
    const answer = form.elements.answer ? form.elements.answer.value : "";
    let shown = 0;
    articles.forEach((one, place) => {
      const fits = (!wanted || texts[place].includes(wanted)) &&
        (!gold || one.dataset.gold === gold) && (!answer || one.dataset.answer === answer);
      one.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    count.textContent = String(shown);
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();

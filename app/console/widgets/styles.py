"""Style sheet and icon of the console, for light and dark pages from 390 pixels wide.

One accent colour; everything else is text on a background. Text has a contrast of at least 4.5 to 1 in both modes (WCAG 2.1 AA), which
tests measure. Classes are named after what they contain. System fonts, with digits of equal width.
"""

from __future__ import annotations

ACCENT = "#0f6e66"
"""Deep teal."""
NO_DATA_COLORS_LIGHT, NO_DATA_COLORS_DARK = ("#c9ccc8", "#eceeea"), ("#4a525a", "#23292e")
"""Colours of heat map cells without statistics: the category itself, and withheld pairs."""
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#0f6e66"/>'
    '<path d="M8 11h10l-3-3m3 3-3 3M24 21H14l3-3m-3 3 3 3" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round" '
    'stroke-linejoin="round"/></svg>'
)
"""Two crossing aisles as SVG."""

STYLE = """
:root {
  --paper: #f6f6f4; --card: #ffffff; --ink: #1b1f23; --soft: #59616a; --line: #dfe1de; --fill: #eeefec;
  --accent: #0f6e66; --on-accent: #ffffff; --tint: #e3f1ef; --bad: #9b2c1f; --bad-tint: #fbeae7; --shade: 0 1px 2px rgb(0 0 0 / .05);
}
body.body--dark {
  --paper: #14171a; --card: #1c2024; --ink: #e9ecee; --soft: #a4acb4; --line: #333a41; --fill: #262c31;
  --accent: #67cdbf; --on-accent: #0c1f1c; --tint: #1b3835; --bad: #ff9d8c; --bad-tint: #3c211d; --shade: none;
  --q-primary: #67cdbf !important;
}
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
body.body--dark { background: var(--paper); color: var(--ink); }
body { font-variant-numeric: tabular-nums; -webkit-font-smoothing: antialiased; overflow-y: scroll; }
.nicegui-content { display: block; max-width: 1120px; width: 100%; margin: 0 auto; padding: 28px 20px 72px; min-height: 90vh; }
h1, h2, h3, p, ol, ul, dl, dd, figure, blockquote { margin: 0; padding: 0; }
ol, ul { list-style: none; }
h1 { font-size: 28px; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; }
h2 { font-size: 19px; line-height: 1.3; font-weight: 650; letter-spacing: -.005em; }
h3 { font-size: 16.5px; line-height: 1.35; font-weight: 620; }
a { color: var(--accent); }
.soft { color: var(--soft); }
.small { font-size: 14px; }
.lead { color: var(--soft); max-width: 80ch; margin-top: 6px; }
.number { text-align: right; white-space: nowrap; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

/* page frame */
.top { background: var(--card); color: var(--ink); border-bottom: 1px solid var(--line); box-shadow: none; padding: 0; }
.top .inner { display: flex; flex-wrap: wrap; align-items: center; gap: 0 28px; max-width: 1120px; margin: 0 auto; padding: 0 20px;
  width: 100%; }
.brand { display: flex; align-items: center; gap: 10px; font-weight: 680; font-size: 17px; letter-spacing: -.01em; color: var(--ink);
  text-decoration: none; padding: 14px 0; }
.brand svg { width: 24px; height: 24px; display: block; }
.pages { display: flex; gap: 4px; }
.pages a { color: var(--soft); text-decoration: none; padding: 16px 12px 13px; border-bottom: 3px solid transparent; font-weight: 520; }
.pages a:hover { color: var(--ink); }
.pages a[aria-current] { color: var(--ink); border-color: var(--accent); }
.top .end { margin-left: auto; display: flex; align-items: center; gap: 8px; }

/* buttons and chips */
.button { font: inherit; font-size: 15px; font-weight: 560; display: inline-flex; align-items: center; justify-content: center; gap: 7px;
  min-height: 40px; padding: 7px 16px; border: 1px solid var(--line); border-radius: 8px; background: var(--card); color: var(--ink);
  cursor: pointer; text-decoration: none; }
.button:hover { border-color: var(--soft); }
.button.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
.button.main:hover { filter: brightness(1.07); }
.button.slight { border-color: transparent; background: transparent; color: var(--accent); min-height: 34px; padding: 4px 10px;
  font-size: 14px; }
.button.slight:hover { background: var(--tint); }
.top .button.slight { color: var(--soft); font-weight: 500; }
.top .button.slight:hover { color: var(--ink); }
.button[disabled] { opacity: .55; cursor: default; }
.chips { display: flex; flex-wrap: wrap; gap: 8px; }
.suggestions { margin-top: 12px; min-height: 76px; align-content: start; }
.stack > .chips:empty { display: none; }
.chip { font: inherit; font-size: 14px; min-height: 34px; padding: 4px 13px; border-radius: 17px; border: 1px solid var(--line);
  color: var(--ink);
  background: var(--card); display: inline-flex; align-items: center; gap: 6px; max-width: 100%; overflow-wrap: anywhere; }
button.chip { cursor: pointer; }
button.chip:hover { border-color: var(--accent); color: var(--accent); }
.chip.selected { background: var(--tint); border-color: transparent; }
.chip.negated { background: var(--bad-tint); border-color: transparent; }

/* form fields */
.q-field--outlined .q-field__control { border-radius: 8px; background: var(--card); }
.q-field--outlined .q-field__control:before { border-color: var(--line); }
.q-field__label, .q-field__native, .q-field__input, .q-field__marginal { color: var(--ink); }
.q-field__label { color: var(--soft); opacity: 1; }
.q-field__native::placeholder, .q-field__input::placeholder { color: var(--soft); opacity: 1; }
.q-field__bottom { color: var(--soft); }
.q-field__messages { color: var(--soft); }
.q-checkbox__label, .q-radio__label, .q-toggle__label { font-size: 15px; }
.q-menu { background: var(--card); color: var(--ink); border: 1px solid var(--line); }
.question-form { display: flex; gap: 10px; align-items: stretch; margin-top: 18px; }
.question-form > .q-field { flex: 1 1 auto; max-width: 620px; }
.question-form .button { min-width: 92px; }
details.more { margin-top: 12px; }
details.more > summary { cursor: pointer; color: var(--accent); font-weight: 540; font-size: 15px; width: fit-content; padding: 4px 0; }
.fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: 12px; margin-top: 10px; align-items: center; }
.finder { position: relative; }
.finder .options { display: none; position: absolute; z-index: 50; left: 0; right: 0; top: calc(100% + 4px); background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; box-shadow: 0 8px 24px rgb(0 0 0 / .16); max-height: 320px; overflow-y: auto;
  padding: 4px; }
.finder:focus-within .options.open { display: block; }
.finder .options button { font: inherit; font-size: 15px; text-align: left; width: 100%; border: 0; background: none; color: var(--ink);
  padding: 8px 10px; border-radius: 6px; cursor: pointer; display: block; overflow-wrap: anywhere; }
.finder .options button:hover, .finder .options button:focus-visible { background: var(--tint); }
.finder .options .soft { display: block; font-size: 13px; }

/* content */
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; box-shadow: var(--shade); padding: 20px; }
.stack > * + * { margin-top: 16px; }
.section { margin-top: 32px; }
.row-spread { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; justify-content: space-between; }
.panel { position: relative; }
.panel.busy > .content { opacity: .45; transition: opacity .15s .15s; }
.panel.busy.partial > .content { opacity: 1; }
.panel > .progress { position: absolute; left: 0; right: 0; top: 0; height: 3px; overflow: hidden; border-radius: 2px;
  visibility: hidden; z-index: 5; }
.panel.busy > .progress { visibility: visible; background: var(--tint); }
.panel.busy > .progress::after { content: ""; position: absolute; inset: 0 70% 0 0; background: var(--accent);
  animation: slide 1.1s infinite ease-in-out; }
@keyframes slide { from { transform: translateX(-100%); } to { transform: translateX(340%); } }
.skeleton { display: grid; gap: 14px; }
.skeleton span { display: block; background: var(--fill); border-radius: 10px; animation: pulse 1.6s infinite ease-in-out; }
@keyframes pulse { 50% { opacity: .5; } }
@media (prefers-reduced-motion: reduce) { .skeleton span, .panel.busy > .progress::after { animation: none; } }
.notice { border-radius: 10px; padding: 14px 18px; background: var(--fill); max-width: 78ch; }
.notice.bad { background: var(--bad-tint); color: var(--bad); }
.notice.note { background: var(--tint); color: var(--ink); }
.empty { text-align: center; padding: 44px 20px; color: var(--soft); border: 1px dashed var(--line); border-radius: 12px; }
.empty strong { display: block; color: var(--ink); font-size: 17px; font-weight: 620; margin-bottom: 4px; }
.empty p { max-width: 56ch; margin: 0 auto; }
.scroll { overflow-x: auto; }
table.data { border-collapse: collapse; width: 100%; font-size: 15px; }
table.data th, table.data td { padding: 9px 12px 9px 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
table.data th { color: var(--soft); font-weight: 540; font-size: 13.5px; }
table.data tbody th { color: var(--ink); font-weight: 500; font-size: 15px; }
table.data tbody th.kind { color: var(--soft); font-size: 13.5px; font-weight: 620; padding-top: 18px; }
table.data .number { text-align: right; }
table.data tr:last-child > * { border-bottom: 0; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; font-size: 15px; }
dl.facts dt { color: var(--soft); }
dl.facts dd { overflow-wrap: anywhere; }
.tag { font-size: 12.5px; font-weight: 600; padding: 2px 8px; border-radius: 5px; background: var(--fill); color: var(--soft);
  white-space: nowrap; align-self: start; }

.picture { position: relative; flex: none; display: grid; place-items: center; width: 44px; height: 44px; border-radius: 8px;
  overflow: hidden;
  background: var(--fill); color: var(--soft); font-size: 13px; font-weight: 640; letter-spacing: .03em; }
.picture img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: cover; }
.picture.large { width: 64px; height: 64px; font-size: 16px; }
.item { display: flex; gap: 12px; align-items: center; min-width: 0; }
.item > div { min-width: 0; }
.item .name { font-size: 14.5px; line-height: 1.35; overflow-wrap: anywhere; }
.item .soft { font-size: 13px; }
.items { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 12px 20px; }

/* bar from zero, its interval, and a reference line */
.bar { position: relative; height: 12px; border-radius: 3px; background: var(--fill); }
.bar .value { position: absolute; inset: 0 auto 0 0; border-radius: 3px; background: var(--accent); opacity: .85; }
.bar .interval { position: absolute; top: 5px; height: 2px; background: var(--ink); }
.bar .interval::before, .bar .interval::after { content: ""; position: absolute; top: -3px; height: 8px; width: 2px;
  background: var(--ink); }
.bar .interval::after { right: 0; }
.bar .reference { position: absolute; top: -3px; bottom: -3px; width: 0; border-left: 2px dotted var(--soft); }
.bar.share { height: 8px; }
.lift-summary .bar { margin: 10px 0 8px; }

/* probe */
.cohort { font-size: 21px; line-height: 1.35; letter-spacing: -.01em; font-weight: 560; }
.needs > li { display: grid; grid-template-columns: 34px 1fr 150px; gap: 4px 14px; padding: 22px 0; border-top: 1px solid var(--line); }
.needs { margin-top: 14px; }
.needs > li:first-child { border-top: 0; padding-top: 6px; }
.needs > li:last-child { padding-bottom: 4px; }
.rank { color: var(--soft); font-size: 15px; font-weight: 600; padding-top: 2px; }
.needs .lift { text-align: right; }
.needs .lift strong { font-size: 23px; line-height: 1.1; font-weight: 660; letter-spacing: -.02em; display: block; }
.needs .bar { margin: 8px 0 8px; }
.needs .need-details { grid-column: 2 / -1; min-width: 0; }
.need-sentence { display: flex; gap: 10px; align-items: flex-start; justify-content: space-between; background: var(--tint);
  border-radius: 8px; padding: 9px 8px 9px 14px; margin: 12px 0 14px; }
.need-sentence p { overflow-wrap: anywhere; padding-top: 3px; }

/* atlas */
.map { overflow-x: auto; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: center; font-size: 13.5px; color: var(--soft); margin-top: 10px; }
.legend .scale { display: inline-flex; align-items: center; gap: 8px; }
.legend .scale b { display: inline-grid; place-items: center; width: 20px; height: 16px; border-radius: 3px; font-weight: 400;
  color: var(--ink); }
.legend .scale i { display: inline-block; width: 150px; height: 10px; border-radius: 2px; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); gap: 0 28px; margin-top: 8px; }
.pair { display: grid; grid-template-columns: 1fr auto; gap: 2px 14px; font: inherit; width: 100%; text-align: left; background: none;
  border: 0;
  color: var(--ink); padding: 9px 6px; border-top: 1px solid var(--line); cursor: pointer; border-radius: 0; }
.pair:hover { background: var(--fill); }
.pair[aria-pressed=true] { background: var(--tint); }
.columns { display: grid; grid-template-columns: minmax(0, 1fr) 320px; gap: 20px; align-items: start; }
.columns.even { grid-template-columns: repeat(2, minmax(0, 1fr)); }

/* shopper */
/* The tip of a claim is below the whole reason: next to its own line it could leave the page. */
.shopper-layout { display: grid; grid-template-columns: 300px minmax(0, 1fr); gap: 24px; align-items: start; margin-top: 20px; }
.recommendations > li { display: grid; grid-template-columns: 34px 64px minmax(0, 1fr); gap: 2px 14px; padding: 18px 0;
  border-top: 1px solid var(--line); }
.recommendations > li:first-child { border-top: 0; padding-top: 4px; }
.recommendations .reason { position: relative; margin-top: 6px; font-size: 16px; overflow-wrap: anywhere; }
/* Room for two lines and the evidence, so that nothing moves when they arrive. */
.reason-slot { min-height: 54px; }
.row-more { display: flex; flex-wrap: wrap; gap: 0 14px; align-items: baseline; min-height: 38px; }
.row-more .facts:has(details[open]) { flex-basis: 100%; }
.claim { cursor: help; border-radius: 3px; text-decoration: underline dotted var(--soft) 1px;
  text-underline-offset: 5px; }
.claim:hover, .claim:focus { background: var(--tint); }
.claim .tip { display: none; position: absolute; z-index: 60; left: 0; top: calc(100% + 4px);
  width: max-content; max-width: min(440px, 100%);
  background: var(--ink); color: var(--paper); font-size: 14px; line-height: 1.45; padding: 10px 13px; border-radius: 8px;
  text-align: left; }
.claim:hover .tip, .claim:focus .tip { display: block; }
.evidence li { display: grid; grid-template-columns: 92px 1fr; gap: 12px; padding: 5px 0; font-size: 14.5px; overflow-wrap: anywhere; }
.history li > .soft { white-space: nowrap; }
.history li { display: grid; grid-template-columns: 92px minmax(0, 1fr) auto; gap: 12px; padding: 6px 0; font-size: 14.5px;
  border-top: 1px solid var(--line); }
.history li:first-child { border-top: 0; }
.shares li { display: grid; grid-template-columns: minmax(0, 1fr) 46px; gap: 2px 10px; font-size: 14.5px; padding: 4px 0; }
.shares .bar { grid-column: 1 / -1; }
.why-dialog.q-card, .why-dialog { background: var(--card); color: var(--ink); width: min(720px, 94vw); max-width: none; max-height: 88vh;
  overflow-y: auto;
  padding: 24px; border-radius: 14px; display: block; }

.rules > summary { color: var(--ink) !important; font-weight: 650 !important; font-size: 17px !important; }

/* quality */
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.tile strong { display: block; font-size: 21px; font-weight: 640; letter-spacing: -.015em; overflow-wrap: anywhere; line-height: 1.3; }
.tile span { color: var(--soft); font-size: 13.5px; }
.forest { position: relative; height: 18px; min-width: 130px; }
.forest .interval { position: absolute; top: 8px; height: 2px; background: var(--soft); }
.forest .value { position: absolute; top: 4px; width: 10px; height: 10px; margin-left: -5px; border-radius: 50%;
  background: var(--accent); }

@media (max-width: 900px) {
  .columns, .columns.even, .shopper-layout { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 600px) {
  .nicegui-content { padding: 20px 14px 56px; }
  .top .inner { padding: 0 14px; gap: 0 16px; }
  .brand { padding: 10px 0 4px; }
  .pages { order: 3; width: 100%; justify-content: space-between; gap: 0; }
  .pages a { padding: 8px 6px 8px; }
  h1 { font-size: 24px; }
  .card { padding: 16px 14px; }
  .needs > li { grid-template-columns: 24px minmax(0, 1fr) auto; gap: 4px 8px; }
  .needs .need-details { grid-column: 1 / -1; }
  .needs .lift .soft { font-size: 12.5px; }
  .recommendations > li { grid-template-columns: 22px 48px minmax(0, 1fr); gap: 2px 10px; }
  .reason-slot { min-height: 126px; }
  .suggestions { min-height: 202px; }
  .picture.large { width: 48px; height: 48px; font-size: 14px; }
  .evidence li { grid-template-columns: 1fr; gap: 0; }
  .history li { grid-template-columns: 92px minmax(0, 1fr); }
  .history li .tag { display: none; }
  .question-form { flex-direction: column; }
  .cohort { font-size: 19px; }
}
"""

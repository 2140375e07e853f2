/* The address bar as state. The server decides what stands there (`to`) and hears where a person went (`visited`: opening
   the page, back and forward, links). What we write ourselves is not told back, or a slow answer would undo a newer choice. */
(function () {
  "use strict";
  const { useEffect, useRef } = window.React;

  const here = () => window.location.pathname + window.location.search;

  /* A plain click on a link of ours; with a modifier key or another button the browser does what it always does. */
  function ours(event) {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return null;
    const link = event.target.closest && event.target.closest("a[data-vk-link]");
    return link && link.origin === window.location.origin ? link : null;
  }

  /* Which page is open, for the eye and for a screen reader. The first link of the bar also stands for the bare address. */
  function mark() {
    const links = Array.from(document.querySelectorAll("nav a.nav-link[data-vk-link]"));
    const open = links.find((a) => a.pathname === window.location.pathname);
    links.forEach((a) => (a === open ? a.setAttribute("aria-current", "page") : a.removeAttribute("aria-current")));
  }

  function Address(props) {
    const set = useRef(props.setProps);
    set.current = props.setProps;
    useEffect(() => {
      let n = 0;
      const tell = () => mark() || set.current({ visited: { href: here(), n: (n += 1) } });
      const click = (event) => {
        const link = ours(event);
        if (!link) return;
        event.preventDefault();
        window.history.pushState(null, "", link.href);
        window.scrollTo(0, 0);
        tell();
      };
      window.addEventListener("popstate", tell);
      document.addEventListener("click", click);
      tell();
      return () => {
        window.removeEventListener("popstate", tell);
        document.removeEventListener("click", click);
      };
    }, []);
    useEffect(() => {
      const to = props.to;
      if (!to || to.href === here()) return;
      window.history[to.replace ? "replaceState" : "pushState"](null, "", to.href);
      mark();
    }, [props.to && props.to.href, props.to && props.to.n]);
    useEffect(() => { if (props.title) document.title = props.title; });
    useEffect(mark);
    return null;
  }

  window.vizkit_dash.Address = Address;
})();

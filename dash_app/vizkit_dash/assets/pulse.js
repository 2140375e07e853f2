/* Asks the server again a while after it has answered. `heard` changes with every answer and starts the next wait; if an
   answer is lost (the machine slept, the server restarted) it asks again after ten seconds. */
(function () {
  "use strict";
  const { useEffect } = window.React;
  const LOST = 10000;

  function Pulse(props) {
    const { wait, heard, beat = 0 } = props;
    useEffect(() => {
      if (!wait) return undefined;
      let n = beat;
      let timer = window.setTimeout(function tick() {
        n += 1;
        props.setProps({ beat: n });
        timer = window.setTimeout(tick, LOST);
      }, wait);
      return () => window.clearTimeout(timer);
    }, [wait, heard]);
    return null;
  }

  window.vizkit_dash.Pulse = Pulse;
})();

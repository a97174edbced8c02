// Asking again and again: more seldom while there is no answer, and not at all while nobody looks.

const SLOWER = [2, 5, 10]; // seconds, after so many failures in a row

const running = new Set();
document.addEventListener("visibilitychange", () => running.forEach((poll) => poll.seen(!document.hidden)));

export class Poll {
  /** `act` is asked every `everyS` seconds; where it fails, `failed(error, retryS)` hears of it. */
  constructor(everyS, act, failed = () => {}) {
    this.everyS = everyS;
    this.act = act;
    this.failed = failed;
    this.failures = 0;
    this.timer = null;
    this.round = 0;
  }

  start() {
    running.add(this);
    this.now();
  }

  stop() {
    running.delete(this);
    this.round += 1;
    clearTimeout(this.timer);
  }

  seen(visible) {
    clearTimeout(this.timer);
    if (visible) {
      this.now();
    }
  }

  /** Ask at once; an answer still under way is left unheard. */
  async now() {
    clearTimeout(this.timer);
    const round = ++this.round;
    const current = () => round === this.round;
    try {
      await this.act(current);
      this.failures = 0;
    } catch (error) {
      if (current()) {
        this.failures += 1;
        this.failed(error, this.pauseS());
      }
    }
    if (current() && running.has(this) && !document.hidden) {
      this.timer = setTimeout(() => this.now(), this.pauseS() * 1000);
    }
  }

  pauseS() {
    const slower = this.failures ? SLOWER[Math.min(this.failures, SLOWER.length) - 1] : 0;
    return Math.max(this.everyS, slower);
  }
}

// The connection to the server: opens, comes back after a loss, numbers what is sent, and drops what comes late.
import { tableFromIPC } from "apache-arrow";

const OF_A_SNAPSHOT = new Set(["repaired", "repair_failed", "planned", "preview", "preview_failed"]);
const OF_A_RUN = new Set(["progress", "result"]);

export class Link {
  constructor(onMessage, onState) {
    this.onMessage = onMessage;
    this.onState = onState;
    this.number = 0;
    this.newestEdit = 0;
    this.newestRun = 0;
    this.failures = 0;
    this.client = sessionStorage.getItem("speql.client") ?? "";
    this.open();
  }

  get ready() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/session?client=${encodeURIComponent(this.client)}`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = (event) => this.take(event.data);
    this.socket.onclose = () => {
      this.failures += 1;
      this.onState("lost", this.failures);
      setTimeout(() => this.open(), Math.min(5000, 250 * 2 ** Math.min(this.failures, 5)));
    };
  }

  take(data) {
    let body;
    let rows = null;
    if (typeof data === "string") {
      body = JSON.parse(data);
    } else {
      const length = new DataView(data).getUint32(0, true);
      body = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      rows = tableFromIPC(new Uint8Array(data, 4 + length));
    }
    if (body.kind === "hello") {
      this.failures = 0;
      this.client = body.client;
      sessionStorage.setItem("speql.client", body.client);
      this.onState("open", 0);
    }
    if (!this.isLate(body)) this.onMessage(body, rows);
  }

  isLate({ kind, id }) {
    if (OF_A_SNAPSHOT.has(kind)) return id < this.newestEdit;
    return OF_A_RUN.has(kind) && id < this.newestRun;
  }

  send(kind, body = {}) {
    if (!this.ready) return 0;
    const id = ++this.number;
    if (kind === "edit") this.newestEdit = id;
    if (kind === "submit") this.newestRun = id;
    this.socket.send(JSON.stringify({ kind, id, ...body }));
    return id;
  }
}

// What the browser's own word about the network is worth.

const THIS_MACHINE = /^(?:localhost|.+\.localhost|127(?:\.\d+){3}|\[::1\])$/;

/**
 * Whether the network of this device is what is missing. An assistant on the same machine needs none.
 * @param {string} host
 * @param {boolean} onLine
 */
export const offline = (host = location.hostname, onLine = navigator.onLine) => !onLine && !THIS_MACHINE.test(host);

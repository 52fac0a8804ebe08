// What is said to people, in each language. How far a start has come is told by the gateway.

const ENGLISH = {
  region: "Notebook server",
  keep: "Keep it running",
  start: "Start it again",
  resume: "Wake it up",
  again: "Try again",
  close: "Close",
  stops: (time, reason) => `This notebook stops in ${time}: ${reason}.`,
  stopped: "This notebook was stopped. Your edits are still here; start it again to go on.",
  paused: "This notebook sleeps. Your edits are still here; wake it up to go on.",
  starting: "Starting Jupyter.",
  connecting: "Connecting again.",
  renewed: "The notebook runs again, with your edits. Kernels are new: run again what you need.",
  back: "The notebook runs again, where it was.",
  refused: "The notebook could not be started now.",
  silent: "The gateway does not answer; trying again.",
  moment: "a few seconds",
  seconds: (count) => `${count} seconds`,
  minutes: (count) => `${count} minutes`,
};

const FRENCH = {
  region: "Serveur du notebook",
  keep: "Le garder en marche",
  start: "Le redémarrer",
  resume: "Le réveiller",
  again: "Réessayer",
  close: "Fermer",
  stops: (time, reason) => `Ce notebook s’arrête dans ${time} : ${reason}.`,
  stopped: "Ce notebook a été arrêté. Vos modifications sont toujours là ; redémarrez-le pour continuer.",
  paused: "Ce notebook dort. Vos modifications sont toujours là ; réveillez-le pour continuer.",
  starting: "Démarrage de Jupyter.",
  connecting: "Nouvelle connexion.",
  renewed: "Le notebook marche à nouveau, avec vos modifications. Les noyaux sont neufs : réexécutez ce qu’il faut.",
  back: "Le notebook marche à nouveau, là où il en était.",
  refused: "Le notebook ne peut pas être démarré maintenant.",
  silent: "La passerelle ne répond pas ; nouvel essai.",
  moment: "quelques secondes",
  seconds: (count) => `${count} secondes`,
  minutes: (count) => `${count} minutes`,
};

/** Return the words in the first of the browser's languages that there are words in. */
export function wordsFor(languages) {
  const known = { en: ENGLISH, fr: FRENCH };
  const wanted = languages.map((language) => language.slice(0, 2).toLowerCase());
  return known[wanted.find((language) => language in known)] ?? ENGLISH;
}

/** Return a duration in words, in steps so large that it is not said all the time; never too long. */
export function timeIn(words, seconds) {
  if (seconds >= 120) return words.minutes(Math.floor(seconds / 60));
  return seconds < 30 ? words.moment : words.seconds(Math.floor(seconds / 30) * 30);
}

#include "client/simulate/demo.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define N_INTENTS 10
#define N_PHRASINGS 6
#define MIX_ALPHA 0.6      /* of the Dirichlet draw of a home's intents: small is lopsided */
#define HOME_PHRASINGS 2   /* ways of putting an intent that a home uses */
#define TRIES 1000         /* draws for a test example that is not in the training set: every home has hundreds */

static const char *const rooms[] = {"kitchen", "garage",  "cellar", "attic",    "porch",   "lounge", "hallway",
                                    "bathroom", "bedroom", "study",  "nursery", "pantry", "office",  "garden"};
static const char *const things[] = {"lamp",  "radio",  "fan",     "heater", "camera",
                                     "television", "speaker", "kettle", "oven", "light"};
static const char *const shutters[] = {"window", "door", "blinds", "curtain"};
/* the lists that slots draw from, and how many of each a home has */
enum slot { ROOM, THING, SHUTTER, N_SLOTS };
static const struct {
    const char *const *words;
    size_t n, of_a_home;
} lists[N_SLOTS] = {
    [ROOM] = {rooms, COUNT(rooms), 4},
    [THING] = {things, COUNT(things), 4},
    [SHUTTER] = {shutters, COUNT(shutters), 2},
};

/* In a text, %r is a room, %t a thing, %s a shutter. */
static const struct intent {
    const char *name, *action;
    const char *phrasings[N_PHRASINGS];
} intents[N_INTENTS] = {
    {"on", " on %t %r",
     {"turn on the %t in the %r", "please switch on the %t in the %r", "%r %t on", "start the %t in the %r",
      "I want the %t in the %r on", "could you put on the %t in the %r"}},
    {"off", " off %t %r",
     {"turn off the %t in the %r", "please switch off the %t in the %r", "%r %t off", "stop the %t in the %r",
      "I do not want the %t in the %r on", "no more %t in the %r"}},
    {"open", " open %s %r",
     {"open the %s in the %r", "please open the %r %s", "let some air in by the %r %s", "the %r %s should be open",
      "could you open the %s in the %r", "%r %s up"}},
    {"close", " close %s %r",
     {"close the %s in the %r", "please shut the %r %s", "it is cold by the %r %s", "the %r %s must not be open",
      "could you close the %s in the %r", "%r %s down"}},
    {"up", " up %t %r",
     {"turn up the %t in the %r", "please turn the %t in the %r up", "more from the %t in the %r", "%r %t higher",
      "I want the %t in the %r higher", "could you turn up the %r %t"}},
    {"down", " down %t %r",
     {"turn down the %t in the %r", "please turn the %t in the %r down", "less from the %t in the %r", "%r %t lower",
      "the %t in the %r is too much", "could you turn down the %r %t"}},
    {"lock", " lock %s %r",
     {"lock the %s in the %r", "please make the %r %s safe", "nobody should come in by the %r %s", "%r %s locked",
      "could you lock the %s in the %r", "the key for the %s in the %r"}},
    {"clean", " clean %r",
     {"clean the %r", "the %r is dirty", "please sweep the %r", "the %r needs a clean", "somebody should wash the %r",
      "there is dust in the %r"}},
    {"warm", " warm %r",
     {"it is cold in the %r", "warm up the %r please", "make the %r warmer", "the %r needs some heat",
      "nobody wants to freeze in the %r", "the %r should be warm"}},
    {"state", " state %t %r",
     {"is the %t in the %r on", "did I leave the %t in the %r on", "what does the %t in the %r do",
      "how is the %r %t", "check the %t in the %r", "tell me about the %t in the %r"}},
};

struct home {
    size_t words[N_SLOTS][8];
    double mix[N_INTENTS]; /* cumulative, ends at 1 */
    size_t phrasings[N_INTENTS][HOME_PHRASINGS];
};

/* k of n numbers, without repetition. */
static void choose(struct stn_rng *rng, size_t n, size_t k, size_t *ret)
{
    size_t all[32];
    for (size_t i = 0; i < n; i++) {
        all[i] = i;
    }
    stn_rng_shuffle(rng, all, n, sizeof *all);
    memcpy(ret, all, k * sizeof *all);
}

static void make_home(uint64_t seed, uint64_t number, struct home *home)
{
    struct stn_rng rng;
    stn_rng_fork(&rng, seed, "demo home", number);
    for (size_t slot = 0; slot < N_SLOTS; slot++) {
        choose(&rng, lists[slot].n, lists[slot].of_a_home, home->words[slot]);
    }
    double sum = 0;
    for (size_t i = 0; i < N_INTENTS; i++) {
        sum += home->mix[i] = stn_rng_gamma(&rng, MIX_ALPHA);
        choose(&rng, N_PHRASINGS, HOME_PHRASINGS, home->phrasings[i]);
    }
    double below = 0;
    for (size_t i = 0; i < N_INTENTS; i++) {
        below += home->mix[i] / sum;
        home->mix[i] = i + 1 == N_INTENTS ? 1 : below;
    }
}

static enum slot slot_of(char letter)
{
    switch (letter) {
    case 'r':
        return ROOM;
    case 't':
        return THING;
    default:
        return SHUTTER;
    }
}

/* text with each %x replaced by the word drawn for that slot. */
static void fill(char *dst, size_t room, const char *text, const char *const *words)
{
    size_t n = 0;
    for (; *text != '\0' && n + 1 < room; text++) {
        if (*text == '%') {
            n += (size_t)snprintf(dst + n, room - n, "%s", words[slot_of(*++text)]);
        } else {
            dst[n++] = *text;
        }
    }
    dst[n < room ? n : room - 1] = '\0';
}

static void draw(const struct home *home, struct stn_rng *rng, struct stn_demo_example *ret)
{
    const char *words[N_SLOTS];
    for (size_t slot = 0; slot < N_SLOTS; slot++) {
        words[slot] = lists[slot].words[home->words[slot][stn_rng_below(rng, lists[slot].of_a_home)]];
    }
    double u = stn_rng_unit(rng);
    size_t i = 0;
    while (u >= home->mix[i]) {
        i++;
    }
    const char *text = intents[i].phrasings[home->phrasings[i][stn_rng_below(rng, HOME_PHRASINGS)]];
    char said[STN_DEMO_PROMPT - 4];
    fill(said, sizeof said, text, words);
    (void)snprintf(ret->prompt, sizeof ret->prompt, "%s ->", said);
    fill(ret->completion, sizeof ret->completion, intents[i].action, words);
    ret->intent = intents[i].name;
}

static void make(const struct home *home, uint64_t seed, uint64_t number, uint64_t i, uint64_t attempt,
                 struct stn_demo_example *ret)
{
    struct stn_rng rng;
    stn_rng_fork(&rng, seed, "demo example", stn_rng_mix(number * 0x10001 + attempt) ^ i);
    draw(home, &rng, ret);
}

static bool is_trained_on(const struct home *home, uint64_t seed, uint64_t number, const char *prompt)
{
    for (uint64_t i = 0; i < STN_DEMO_EXAMPLES; i++) {
        struct stn_demo_example example;
        make(home, seed, number, i, 0, &example);
        if (strcmp(example.prompt, prompt) == 0) {
            return true;
        }
    }
    return false;
}

void stn_demo_make(uint64_t seed, uint64_t number, uint64_t i, struct stn_demo_example *ret)
{
    struct home home;
    make_home(seed, number, &home);
    make(&home, seed, number, i, 0, ret);
    for (uint64_t attempt = 1; i >= STN_DEMO_EXAMPLES && attempt < TRIES && is_trained_on(&home, seed, number, ret->prompt);
         attempt++) {
        make(&home, seed, number, i, attempt, ret);
    }
}

/* lab_data: the lab's model and examples: read once, split among clients, a test set kept apart. Thread: the lab's. */
#ifndef STN_CLIENT_SIMULATE_LAB_DATA_H
#define STN_CLIENT_SIMULATE_LAB_DATA_H

#include "client/simulate/lab.h"

#define STN_LAB_DATA_HELD_OUT 0.1 /* share of every client's examples that is tested on when there is no test set */

/* Opens the model and its tokenizer. */
enum stn_code stn_lab_data_model(struct stn_lab *lab, const struct stn_lab_config *config, struct stn_err *err) STN_CHECKED;

/* Fills clients, pooled and test from config. */
enum stn_code stn_lab_data_read(struct stn_lab *lab, const struct stn_lab_config *config, struct stn_err *err) STN_CHECKED;

void stn_lab_data_free(struct stn_lab *lab);

#endif

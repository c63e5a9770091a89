#include "simulated_card.hpp"

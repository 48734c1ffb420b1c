// How a kernel is seen from outside: HN_EXPORT(int64_t, lstm_forward)(…) is hn_lstm_forward_float or hn_lstm_forward_double, as
// HN_TYPE says.
#pragma once

#define HN_JOIN_(name, type) hn_##name##_##type
#define HN_JOIN(name, type) HN_JOIN_(name, type)
#define HN_EXPORT(result, name) extern "C" __attribute__((visibility("default"))) result HN_JOIN(name, HN_TYPE)

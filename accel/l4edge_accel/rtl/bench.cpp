// Runs layers through the verilated accelerator: feeds the two input streams, takes the output stream, counts cycles.
//
//     bench LAYERS RESULTS
//
// LAYERS: layers, one after the other, as 32-bit words: a header of HEADER words, the pauses of the three streams, the
// beats of activations and weights. RESULTS: for each layer the cycles from the first in which a stream may move until
// the last beat has left, the number of violations of the ready/valid rules, and the beats of the output.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "Vl4edge_accelerator.h"
#include "verilated.h"

namespace {

constexpr int HEADER = 16;
enum { ROW_TILES, INPUT_TILES, GROUPS, SHIFT, BEATS_A, BEATS_W, BEATS_O, BURST, PAUSES_A, PAUSES_W, PAUSES_O, PERCENT, SEED, LIMIT };

template <typename T> void put(T& port, const uint32_t* words) {
    std::memcpy(&port, words, sizeof(T));
}
template <typename T> void get(const T& port, uint32_t* words, int count) {
    std::memcpy(words, &port, sizeof(T) < count * sizeof(uint32_t) ? sizeof(T) : count * sizeof(uint32_t));
}

// When a side of a stream offers a beat: always, at random, or in bursts after given pauses.
class Pace {
  public:
    Pace(uint32_t burst, const uint32_t* pauses, uint32_t count, uint32_t percent, uint32_t seed)
        : burst_(burst), pauses_(pauses), count_(count), percent_(percent), state_(seed * 2654435761u + 12345u) {
        if (burst_) begin(0);
    }
    bool ready(uint64_t cycle) {
        if (burst_) return cycle >= ready_;
        if (percent_ && !held_) held_ = next() % 100 >= percent_;
        return percent_ ? held_ : true;
    }
    void passed(uint64_t cycle) {
        held_ = false;
        if (burst_ && --left_ == 0) begin(cycle + 1);
    }

  private:
    void begin(uint64_t cycle) {
        ready_ = cycle + pauses_[index_++ % count_];
        left_ = burst_;
    }
    uint32_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 17;
        state_ ^= state_ << 5;
        return state_;
    }
    uint32_t burst_;
    const uint32_t* pauses_;
    uint32_t count_, percent_, state_;
    uint32_t index_ = 0, left_ = 0;
    uint64_t ready_ = 0;
    bool held_ = false;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    auto context = std::make_unique<VerilatedContext>();
    auto top = std::make_unique<Vl4edge_accelerator>(context.get());
    std::FILE* in = std::fopen(argv[1], "rb");
    std::FILE* out = std::fopen(argv[2], "wb");
    if (!in || !out) return 2;
    const int words_a = WORDS_A, words_w = WORDS_W, words_o = WORDS_O;

    auto tick = [&] {
        top->clock = 1;
        top->eval();
        top->clock = 0;
        top->eval();
    };
    top->clock = 0;
    top->reset = 1;
    top->start = 0;
    top->activation_valid = top->weight_valid = top->output_ready = 0;
    tick();
    tick();
    top->reset = 0;

    uint32_t h[HEADER];
    while (std::fread(h, sizeof(uint32_t), HEADER, in) == HEADER) {
        std::vector<uint32_t> data(size_t(h[PAUSES_A]) + h[PAUSES_W] + h[PAUSES_O] + size_t(h[BEATS_A]) * words_a + size_t(h[BEATS_W]) * words_w);
        if (std::fread(data.data(), sizeof(uint32_t), data.size(), in) != data.size()) return 3;
        const uint32_t* pauses_a = data.data();
        const uint32_t* pauses_w = pauses_a + h[PAUSES_A];
        const uint32_t* pauses_o = pauses_w + h[PAUSES_W];
        const uint32_t* beats_a = pauses_o + h[PAUSES_O];
        const uint32_t* beats_w = beats_a + size_t(h[BEATS_A]) * words_a;
        Pace pace_a(h[BURST], pauses_a, h[PAUSES_A], h[PERCENT], h[SEED] + 1);
        Pace pace_w(h[BURST], pauses_w, h[PAUSES_W], h[PERCENT], h[SEED] + 2);
        Pace pace_o(h[BURST], pauses_o, h[PAUSES_O], h[PERCENT], h[SEED] + 3);
        std::vector<uint32_t> result(size_t(h[BEATS_O]) * words_o, 0);

        top->row_tiles = h[ROW_TILES];
        top->input_tiles = h[INPUT_TILES];
        top->token_groups = h[GROUPS];
        top->shift = h[SHIFT];
        top->start = 1;
        tick();
        top->start = 0;

        uint32_t sent_a = 0, sent_w = 0, taken = 0, violations = 0;
        uint64_t cycle = 0;
        std::vector<uint32_t> offered(words_o), before(words_o);
        bool was_offered = false;
        for (; taken < h[BEATS_O] && cycle < h[LIMIT]; ++cycle) {
            top->activation_valid = sent_a < h[BEATS_A] && pace_a.ready(cycle);
            if (sent_a < h[BEATS_A]) put(top->activation_data, beats_a + size_t(sent_a) * words_a);
            top->weight_valid = sent_w < h[BEATS_W] && pace_w.ready(cycle);
            if (sent_w < h[BEATS_W]) put(top->weight_data, beats_w + size_t(sent_w) * words_w);
            top->output_ready = pace_o.ready(cycle);
            top->eval();
            const bool accept_a = top->activation_valid && top->activation_ready;
            const bool accept_w = top->weight_valid && top->weight_ready;
            const bool accept_o = top->output_valid && top->output_ready;
            if (top->output_valid) {
                get(top->output_data, offered.data(), words_o);
                if (was_offered && offered != before) ++violations;  // a beat changed while it waited
            } else if (was_offered) {
                ++violations;  // a beat was taken back
            }
            was_offered = top->output_valid && !accept_o;
            before = offered;
            if (accept_o) std::memcpy(&result[size_t(taken++) * words_o], offered.data(), words_o * sizeof(uint32_t));
            tick();
            if (accept_a) ++sent_a, pace_a.passed(cycle);
            if (accept_w) ++sent_w, pace_w.passed(cycle);
            if (accept_o) pace_o.passed(cycle);
        }
        if (top->busy || sent_a != h[BEATS_A] || sent_w != h[BEATS_W]) ++violations;  // not everything was used up
        const uint64_t counted[2] = {cycle, violations};
        std::fwrite(counted, sizeof(uint64_t), 2, out);
        std::fwrite(result.data(), sizeof(uint32_t), result.size(), out);
        if (cycle >= h[LIMIT]) return 4;
    }
    std::fclose(in);
    return std::fclose(out) ? 3 : 0;
}

// Balanced adder tree with a register after every level, and a carry of weight one for every term.
//
// A subtree over n terms has n - 1 adders, so n - 1 of its n carries enter as carry inputs and one is left: it goes up
// with the subtree's sum. The root's sum and the one carry left are the result; the accumulator behind takes both.
module adder_tree #(
    parameter int TERMS = 16,
    parameter int TERM = 8,                       // bits of a term, signed
    parameter int LEVELS = $clog2(TERMS)
) (
    input  wire                          clock,
    input  wire [TERMS*TERM-1:0]         terms,
    input  wire [TERMS-1:0]              carries,
    output wire signed [TERM+LEVELS-1:0] sum,
    output wire                          carry
);
    genvar l, n;
    generate
        for (l = 0; l <= LEVELS; l = l + 1) begin : level
            localparam int NODES = (TERMS + (1 << l) - 1) >> l;
            localparam int WIDTH = TERM + l;
            wire [NODES*WIDTH-1:0] sums;
            wire [NODES-1:0] left_over;
            if (l == 0) begin : leaves
                assign sums = terms;
                assign left_over = carries;
            end else begin : adders
                localparam int BELOW = (TERMS + (1 << (l - 1)) - 1) >> (l - 1);
                for (n = 0; n < NODES; n = n + 1) begin : node
                    wire signed [WIDTH-2:0] left = level[l-1].sums[2*n*(WIDTH-1) +: WIDTH-1];
                    reg signed [WIDTH-1:0] total;
                    reg pending;
                    if (2 * n + 1 < BELOW) begin : pair
                        wire signed [WIDTH-2:0] right = level[l-1].sums[(2*n+1)*(WIDTH-1) +: WIDTH-1];
                        wire signed [1:0] carry_in = {1'b0, level[l-1].left_over[2*n]};
                        always_ff @(posedge clock) begin
                            total <= left + right + carry_in;
                            pending <= level[l-1].left_over[2*n+1];
                        end
                    end else begin : alone
                        always_ff @(posedge clock) begin
                            total <= left;
                            pending <= level[l-1].left_over[2*n];
                        end
                    end
                    assign sums[n*WIDTH +: WIDTH] = total;
                    assign left_over[n] = pending;
                end
            end
        end
    endgenerate
    assign sum = level[LEVELS].sums;
    assign carry = level[LEVELS].left_over[0];
endmodule
